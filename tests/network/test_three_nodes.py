"""The life of a network of three nodes, which one command starts."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shared import Shared
from vmsdk.network import LocalNetwork, NodeBinary

from .conftest import Command, processes_in
from .targets import TIMESTAMP, data_of, last_block, propose

Started = tuple[Command, str]
"""The command, and what it printed when it started three nodes."""


@pytest.fixture(scope="module")
def networks(node: NodeBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared[Started]]:
    with Shared(lambda: three_nodes(node, tmp_path_factory.mktemp("home"))) as shared:
        yield shared


@contextlib.contextmanager
def three_nodes(node: NodeBinary, home: Path) -> Iterator[Started]:
    command = Command(home, node)
    try:
        yield command, command.ok("start", TIMESTAMP, "--nodes", 3, "--detach")
    finally:
        command.clean()


@pytest.fixture
def started(networks: Shared[Started], request: pytest.FixtureRequest) -> Iterator[Started]:
    with networks.lent(request.session) as started:
        yield started


@pytest.fixture
def command(started: Started) -> Command:
    return started[0]


@pytest.fixture
def network(command: Command) -> LocalNetwork:
    return command.network("timestampvm")


def curl(url: str, method: str, params: dict[str, str]) -> dict[str, object]:
    """A call as a person makes it."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    if shutil.which("curl") is None:
        request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as response:
            answer = response.read()
    else:
        argv = ["curl", "--silent", "--fail", "-H", "Content-Type: application/json", "-d", body, url]
        answer = subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout
    result = json.loads(answer)["result"]
    assert isinstance(result, dict)
    return result


def test_the_command_prints_where_everything_is(started: Started) -> None:
    command, printed = started
    network = command.network("timestampvm")
    chain = network.chain
    facts = [str(chain.id), str(chain.vm_id), str(network.directory)]
    for node in network.nodes:
        facts += [node.name, str(node.node_id), node.uri, chain.url(node), str(chain.log(node))]
    assert [fact for fact in facts if fact not in printed] == []


def test_a_block_proposed_by_curl_at_a_printed_url_is_read_back_at_each(
    started: Started, network: LocalNetwork
) -> None:
    urls = [word for word in started[1].split() if word.endswith("/ext/bc/timestampvm")]
    assert len(urls) == 3
    for i, url in enumerate(urls):
        height = network.chain.height(network.nodes[i]) + 1
        curl(url, "timestampvm.proposeBlock", {"data": f"0x{i:02x}ff"})
        network.wait_for_height(height)
        block_id = str(curl(url, "timestampvm.lastAccepted", {})["id"])
        blocks = [curl(each, "timestampvm.getBlock", {"id": block_id}) for each in urls]
        assert blocks[0] == blocks[1] == blocks[2]
        assert data_of(blocks[0]) == bytes([i, 0xFF])


def test_the_chain_is_served_by_its_id_as_well(network: LocalNetwork) -> None:
    node, chain = network.nodes[1], network.chain
    by_id = node.client(f"/ext/bc/{chain.id}").call("timestampvm.lastAccepted")
    assert by_id == chain.client(node).call("timestampvm.lastAccepted")


def test_a_killed_node_catches_up_when_it_is_back(command: Command, network: LocalNetwork) -> None:
    command.ok("kill", "node3")
    assert network.node("node3").status == "stopped"
    assert processes_in(network.node("node3").directory) == []
    height = propose(network, network.node("node1"), b"while node3 was dead")
    command.ok("restart", "node3")
    network.wait_for_height(height, nodes=[network.node("node3")])
    assert data_of(last_block(network, network.node("node3"))) == b"while node3 was dead"


def test_the_first_node_catches_up_when_it_was_killed(network: LocalNetwork) -> None:
    network.node("node1").kill()
    height = propose(network, network.node("node2"), b"while node1 was dead")
    network.wait_for_height(height)
    network.node("node1").start()
    network.wait_for_height(height, nodes=[network.node("node1")])
    assert data_of(last_block(network, network.node("node1"))) == b"while node1 was dead"


def test_a_paused_node_holds_up_the_chain_of_three_until_it_continues(network: LocalNetwork) -> None:
    paused, other = network.node("node2"), network.node("node1")
    height = network.chain.height(other)
    paused.pause()
    try:
        assert paused.status == "paused"
        # Two of three are less than the three quarters that consensus asks for.
        network.chain.client(other).call("timestampvm.proposeBlock", data="0x77")
        assert network.chain.height(other) == height
    finally:
        paused.resume()
    network.wait_for_height(height + 1)
    assert data_of(last_block(network, paused)) == b"\x77"


def test_a_node_added_late_bootstraps_all_blocks(command: Command, network: LocalNetwork) -> None:
    propose(network, network.node("node1"), b"before the new node")
    blocks = [last_block(network, network.node("node1"))]
    while blocks[-1]["height"] > 0:
        blocks.append(
            network.chain.client(network.node("node1")).call(
                "timestampvm.getBlock", id=blocks[-1]["parentID"]
            )
        )
    printed = command.ok("add-node")
    added = network.nodes[-1]
    assert str(added.node_id) in printed
    assert network.chain.url(added) in printed
    client = network.chain.client(added)
    assert [client.call("timestampvm.getBlock", id=block["id"]) for block in blocks] == blocks
    propose(network, added, b"by the new node")
    network.wait_for_height(blocks[0]["height"] + 1)


def test_a_stopped_network_comes_back_with_chain_identities_addresses_and_blocks(
    command: Command, network: LocalNetwork
) -> None:
    height = propose(network, network.node("node1"), b"before the stop")
    network.wait_for_height(height)
    before = json.loads(command.ok("status", "--json"))[0]
    last = last_block(network, network.node("node1"))
    command.ok("stop")
    assert {node.status for node in network.nodes} == {"stopped"}
    assert processes_in(network.directory) == []
    command.ok("start", "--detach")
    after = json.loads(command.ok("status", "--json"))[0]
    for status in (before, after):
        for node in status["nodes"]:
            del node["pid"]
    assert after == before
    assert [last_block(network, node) for node in network.nodes] == [last] * len(network.nodes)
    propose(network, network.node("node1"), b"after the stop")


def test_the_chains_metrics_are_among_the_nodes(network: LocalNetwork) -> None:
    node = network.node("node1")
    height = propose(network, node, b"counted")
    assert node.metrics("_snowman_last_accepted_height", chain="timestampvm") == [height]
    assert node.metrics("_snowman_last_accepted_height", chain="no such chain") == []
    # What the VM's own process reports.
    [cpu_s] = node.metrics("_process_process_cpu_seconds_total", chain="timestampvm")
    [memory_bytes] = node.metrics("_process_process_resident_memory_bytes", chain="timestampvm")
    assert cpu_s > 0
    assert memory_bytes > 1_000_000


def test_logs_shows_the_chains_log_of_one_node_or_of_all(command: Command, network: LocalNetwork) -> None:
    log = network.chain.log(network.node("node1"))
    before = log.read_text(encoding="utf-8").splitlines()
    one = command.ok("logs", "node1", "-n", 2).splitlines()
    after = log.read_text(encoding="utf-8").splitlines()
    # The node may have written more meanwhile.
    assert one in [after[end - 2 : end] for end in range(len(before), len(after) + 1)]
    everything = command.ok("logs", "-n", 1).splitlines()
    assert [line.partition(":")[0] for line in everything] == [node.name for node in network.nodes]
    assert "node/node.go" in command.ok("logs", "node1", "--log", "node", "-n", 500)


def test_cleaning_leaves_nothing(command: Command, network: LocalNetwork, networks: Shared[Started]) -> None:
    command.ok("clean")
    networks.end()
    assert not network.directory.exists()
    assert processes_in(network.directory) == []
