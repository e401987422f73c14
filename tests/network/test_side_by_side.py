"""Several networks and several chains, side by side."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.shared import Shared
from vmsdk.network import LocalNetwork, NewChain, NodeBinary
from vmsdk.network.errors import NetworkError, NetworkNotFound
from vmsdk.network.launch import Launch
from vmsdk.network.node import _free_port

from .conftest import Command, processes_in
from .targets import CHATTY, TIMESTAMP, data_of, last_block, lines_until, propose

MakeNetwork = Callable[..., LocalNetwork]
END_S = 60.0


@pytest.fixture(scope="module")
def networks(any_node: NodeBinary) -> Iterator[Shared[LocalNetwork]]:
    with Shared(lambda: LocalNetwork(TIMESTAMP, node=any_node.path)) as shared:
        yield shared


@pytest.fixture
def shared(networks: Shared[LocalNetwork], request: pytest.FixtureRequest) -> Iterator[LocalNetwork]:
    """A network for the tests that leave it as good as they find it."""
    with networks.lent(request.session) as network:
        yield network


@pytest.fixture(scope="module")
def running(any_node: NodeBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """The command, with a network that runs, for the tests that leave it alone."""
    command = Command(tmp_path_factory.mktemp("home"), any_node)
    try:
        command.ok("start", TIMESTAMP, "--detach")
        yield command
    finally:
        command.clean()


def test_two_networks_of_one_vm_do_not_know_of_each_other(
    any_node: NodeBinary, make_network: MakeNetwork, shared: LocalNetwork
) -> None:
    first, second = make_network(TIMESTAMP, node=any_node.path), shared
    first.start()
    propose(first, first.nodes[0], b"in the first")
    propose(second, second.nodes[0], b"in the second")
    assert data_of(last_block(first, first.nodes[0])) == b"in the first"
    assert data_of(last_block(second, second.nodes[0])) == b"in the second"
    first.clean()
    propose(second, second.nodes[0], b"the second lives on")


def test_a_network_starts_with_several_chains_and_gets_more(
    node: NodeBinary, make_network: MakeNetwork
) -> None:
    network = make_network(
        NewChain(TIMESTAMP, "one", genesis=b"first"),
        NewChain(TIMESTAMP, "two", genesis=b"second"),
        node=node.path,
    )
    network.start()
    three = network.add_chain(NewChain(TIMESTAMP, "three", genesis=b"third"))
    only = network.nodes[0]
    assert [chain.name for chain in network.chains] == ["one", "two", "three"]
    for chain, genesis in zip(network.chains, (b"first", b"second", b"third"), strict=True):
        assert data_of(chain.client(only).call("timestampvm.getBlock")) == genesis
    three.client(only).call("timestampvm.proposeBlock", data="0x03")
    network.wait_for_height(1, chain=three)
    network.restart()
    assert [chain.height(only) for chain in network.chains] == [0, 0, 1]


def test_a_chain_is_added_to_a_network_of_several_nodes(
    any_node: NodeBinary, make_network: MakeNetwork
) -> None:
    network = make_network(TIMESTAMP, node=any_node.path, nodes=2)
    network.start()
    chain = network.add_chain(NewChain(TIMESTAMP, "late"))
    chain.client(network.nodes[1]).call("timestampvm.proposeBlock", data="0x01")
    network.wait_for_height(1, chain=chain)


def test_a_chain_gets_its_genesis_configuration_and_upgrades_and_its_level_of_log(
    node: NodeBinary, make_network: MakeNetwork
) -> None:
    network = make_network(
        NewChain(CHATTY, "verbose", genesis=b"g", upgrade=b"u", config=b"DEBUG"),
        NewChain(CHATTY, "terse", genesis=b"g", config=b"ERROR"),
        node=node.path,
    )
    network.start()
    verbose, terse = (
        lines_until(chain.log(network.nodes[0]), "KeyError: 'no such key'", "printed by the VM")
        for chain in network.chains
    )
    assert one_line(verbose, "genesis b'g', upgrade b'u', config b'DEBUG'")[1] == "INFO"
    assert one_line(verbose, "a detail")[1] == "DEBUG"
    assert not any("a detail" in line or "genesis b'g'" in line for line in terse)
    # Lines come whole: long ones, ones that are not ASCII, and what is printed and warned.
    assert one_line(verbose, "Größe: 3 €")[1] == "WARN"
    assert one_line(terse, "long" * 4_000 + ".")[1] == "ERROR"
    assert "printed by the VM" in terse
    assert any("warned by the VM" in line for line in verbose)
    assert one_line(terse, "caught")[1] == "ERROR"


def test_the_nodes_level_of_log_is_the_vms_too(command: Command) -> None:
    command.ok("start", CHATTY, "--detach")
    log = command.network("chattyvm").chain.log(command.network("chattyvm").nodes[0])
    lines_until(log, "printed by the VM")
    assert "a detail" not in log.read_text(encoding="utf-8")
    command.ok("stop")
    command.ok("start", "--log-level", "debug", "--detach")
    assert one_line(lines_until(log, "a detail"), "a detail")[1] == "DEBUG"
    assert "] DEBUG " in command.network("chattyvm").nodes[0].log.read_text(encoding="utf-8")


def test_temporary_files_of_nodes_are_removed_with_the_network(
    any_node: NodeBinary, make_network: MakeNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    network = make_network(node=any_node.path, nodes=2)
    network.start()
    network.restart()
    for node in network.nodes:  # where each start leaves a keystore; those of earlier starts are gone
        assert len(list((node.directory / "tmp").glob("*keystore*"))) <= 1
    network.clean()
    assert list(temporary.iterdir()) == []


def test_other_configuration_at_the_next_start_takes_the_place_of_the_old(
    any_node: NodeBinary, make_network: MakeNetwork, tmp_path: Path
) -> None:
    directory = tmp_path / "network"
    for config in (b"ERROR", b"DEBUG"):
        network = make_network(NewChain(CHATTY, config=config), node=any_node.path, directory=directory)
        network.start()
        network.stop()
    log = network.chain.log(network.nodes[0]).read_text(encoding="utf-8")
    assert "config b'DEBUG'" in log
    assert "config b'ERROR'" not in log


def test_another_genesis_for_a_chain_that_is_there_is_refused(command: Command, tmp_path: Path) -> None:
    genesis = tmp_path / "genesis"
    genesis.write_bytes(b"the genesis")
    command.ok("start", TIMESTAMP, "--genesis", genesis, "--detach")
    command.ok("stop")
    command.ok("start", TIMESTAMP, "--genesis", genesis, "--detach")
    command.ok("stop")
    genesis.write_bytes(b"another one")
    done = command.run("start", TIMESTAMP, "--genesis", genesis, "--detach")
    assert done.returncode == 1
    assert "was created with a different genesis" in done.stderr


def test_another_source_of_the_same_name_is_not_taken_for_the_network_that_is_there(
    command: Command, tmp_path: Path
) -> None:
    command.ok("start", TIMESTAMP, "--detach")
    command.ok("stop")
    copy = tmp_path / "copy.py"
    copy.write_bytes(Path(TIMESTAMP.partition(":")[0]).read_bytes())
    done = command.run("start", f"{copy}:TimestampVM", "--detach")
    assert done.returncode == 1
    assert f"was created from {TIMESTAMP}: choose another --name for {copy}:TimestampVM" in done.stderr
    command.ok("start", f"{copy}:TimestampVM", "--name", "timestampvm", "--detach")
    assert command.network("timestampvm").chain.target == f"{copy}:TimestampVM"


def test_one_vms_name_is_not_given_to_two_sources(shared: LocalNetwork) -> None:
    network = shared
    plugin = next((network.directory / "plugins").iterdir())
    content = plugin.read_bytes()
    with pytest.raises(NetworkError, match=r"choose another name for the VM"):
        network.add_chain(NewChain(CHATTY, "second", vm_name="timestampvm"))
    assert plugin.read_bytes() == content
    propose(network, network.nodes[0], b"as before")


def test_waiting_where_no_node_runs_is_an_error(any_node: NodeBinary, make_network: MakeNetwork) -> None:
    network = make_network(TIMESTAMP, node=any_node.path)
    network.start()
    network.stop()
    with pytest.raises(NetworkError):
        network.wait_for_height(0)
    with pytest.raises(NetworkError):
        network.nodes[0].pause()
    with pytest.raises(NetworkError):
        network.add_chain(NewChain(TIMESTAMP, "second"))


def test_commands_ask_for_a_name_where_several_networks_are_meant(command: Command) -> None:
    command.ok("start", TIMESTAMP, "--name", "one", "--detach")
    command.ok("start", TIMESTAMP, "--name", "two", "--detach")
    done = command.run("stop")
    assert done.returncode == 1
    assert "there are several networks (one, two): choose one with --name" in done.stderr
    command.ok("stop", "--name", "one")
    command.ok("kill", "node1")  # of the only one that runs
    assert command.network("two").nodes[0].status == "stopped"
    listed = command.ok("status")
    assert [line.split()[0] for line in listed.splitlines()] == ["network", "one", "two"]
    statuses = json.loads(command.ok("status", "--json"))
    assert [status["name"] for status in statuses] == ["one", "two"]
    assert "one" in command.ok("clean", "--all")
    assert "there is no network" in command.ok("status")


def test_a_chain_is_added_by_the_command(command: Command) -> None:
    command.ok("start", TIMESTAMP, "--detach")
    printed = command.ok("add-chain", TIMESTAMP, "--chain", "second")
    network = command.network("timestampvm")
    assert network.chains[1].url(network.nodes[0]) in printed
    assert "second" in command.ok("status")
    assert command.ok("logs", "--chain", "second", "-n", 1)


def test_a_missing_network_is_reported(command: Command) -> None:
    for arguments in (["status", "--name", "none"], ["clean", "--name", "none"], ["stop"], ["start"]):
        done = command.run(*arguments)
        assert done.returncode == 1
        assert "there is no network in" in done.stderr


def test_unknown_names_are_reported_with_the_known_ones(running: Command) -> None:
    for wrong, words in [
        (["kill", "node7"], "no node 'node7'; it has node1"),
        (["logs", "--chain", "none"], "no chain 'none'; it has timestampvm"),
        (["start", "--nodes", "3"], "is running"),
    ]:
        done = running.run(*wrong)
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr


def test_a_reader_of_logs_may_leave(running: Command) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = running.run("logs", "-f", stdout=closed)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_executable_is_a_plugin_in_any_language(
    any_node: NodeBinary, make_network: MakeNetwork, shared: LocalNetwork
) -> None:
    plugin = next((shared.directory / "plugins").iterdir())
    network = make_network(NewChain(str(plugin), "by-file"), node=any_node.path)
    network.start()
    assert network.chain.vm_id == shared.chain.vm_id
    propose(network, network.nodes[0], b"by a file")


@pytest.mark.parametrize("slow_start", [1, 2], ids=["registration", "chain"])
def test_a_plugin_that_is_too_slow_once_is_given_a_second_chance(
    any_node: NodeBinary, make_network: MakeNetwork, shared: LocalNetwork, tmp_path: Path, slow_start: int
) -> None:
    plugin = next((shared.directory / "plugins").iterdir())
    starts, slow = tmp_path / "starts", tmp_path / plugin.name
    slow.write_text(
        f"#!/bin/sh\necho >> {starts}\n"
        f"[ $(wc -l < {starts}) = {slow_start} ] || exec {plugin}\n"
        "trap 'echo runtime engine: ignoring signal: terminated; exit' TERM\n"
        "while true; do sleep 0.1; done\n"
    )
    slow.chmod(0o755)
    told: list[str] = []
    network = make_network(str(slow), node=any_node.path, progress=told.append)
    network.start()
    assert [text for text in told if "starting node1 again" in text]
    propose(network, network.nodes[0], b"better late than never")


def test_a_temporary_network_is_removed_after_its_block(any_node: NodeBinary) -> None:
    with LocalNetwork(TIMESTAMP, node=any_node.path) as network:
        propose(network, network.nodes[0], b"for a moment")
        directory = network.directory
    assert not directory.exists()
    assert processes_in(directory) == []
    with pytest.raises(NetworkNotFound):
        LocalNetwork.open(directory)


def test_a_directory_without_a_network_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").touch()
    LocalNetwork(directory=tmp_path).clean()
    assert list(tmp_path.iterdir()) == [tmp_path / "diary.txt"]


def test_a_network_with_a_damaged_record_can_be_removed(command: Command) -> None:
    command.ok("start", TIMESTAMP, "--detach")
    directory = command.networks / "timestampvm"
    (directory / "network.json").write_text("{")
    assert "vmsdk network clean removes it" in command.run("status").stderr
    command.ok("clean")
    assert processes_in(directory) == []
    assert not directory.exists()


def test_a_network_without_a_chain_is_nodes_alone(any_node: NodeBinary) -> None:
    with LocalNetwork(node=any_node.path) as network:
        with pytest.raises(NetworkError):
            _ = network.chain
        with pytest.raises(NetworkError):
            network.node("node2")
        assert network.nodes[0].client("/ext/info").call("info.isBootstrapped", chain="C") == {
            "isBootstrapped": True
        }
        network.add_chain(TIMESTAMP)
        propose(network, network.nodes[0], b"a chain at last")


def test_the_next_start_may_use_another_node(
    any_node: NodeBinary, make_network: MakeNetwork, tmp_path: Path
) -> None:
    directory, moved = tmp_path / "network", tmp_path / "moved"
    moved.symlink_to(any_node.path)
    network = make_network(TIMESTAMP, node=any_node.path, directory=directory)
    network.start()
    propose(network, network.nodes[0], b"by the one node")
    network.stop()
    network = make_network(node=moved, directory=directory, flags={"log-level": "debug"})
    network.start()
    assert network.record.binary == str(moved)
    assert data_of(last_block(network, network.nodes[0])) == b"by the one node"
    assert "] DEBUG " in network.nodes[0].log.read_text(encoding="utf-8")


def test_a_node_that_cannot_read_the_data_changes_nothing(
    older_node: NodeBinary, any_node: NodeBinary, make_network: MakeNetwork, tmp_path: Path
) -> None:
    network = make_network(TIMESTAMP, node=older_node.path, directory=tmp_path / "network")
    network.start()
    propose(network, network.nodes[0], b"by the older node")
    network.stop()
    with pytest.raises(
        NetworkError, match="incompatible genesis"
    ):  # AvalancheGo 1.14 changed the local genesis
        make_network(node=any_node.path, directory=tmp_path / "network").start()
    assert network.record.binary == str(older_node.path)
    network.start()
    assert data_of(last_block(network, network.nodes[0])) == b"by the older node"


def test_a_node_whose_port_was_taken_meanwhile_gets_another(
    any_node: NodeBinary, make_network: MakeNetwork
) -> None:
    network = make_network(TIMESTAMP, node=any_node.path)
    network.start()
    network.stop()
    port = network.nodes[0].record.http_port
    with socket.create_server(("127.0.0.1", port)):
        network.start()
    assert network.nodes[0].record.http_port != port
    propose(network, network.nodes[0], b"at another address")


def test_a_node_whose_port_was_taken_before_its_id_is_known_gets_another(
    any_node: NodeBinary, make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    first: list[Launch] = []
    look = Launch.node_id

    def look_late(launch: Launch) -> str | None:
        if launch is (first or [launch])[0]:
            first.append(launch)
            assert launch.process.wait(END_S)
            launch.listens()
        return look(launch)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        ports = [listener.getsockname()[1]]
        monkeypatch.setattr(
            "vmsdk.network.node._free_port", lambda record: ports.pop() if ports else _free_port(record)
        )
        monkeypatch.setattr(Launch, "node_id", look_late)
        network = make_network(TIMESTAMP, node=any_node.path)
        network.start()
    propose(network, network.nodes[0], b"at another port")


def one_line(lines: list[str], text: str) -> tuple[str, str]:
    """The only line with the text, and its level."""
    found = [line for line in lines if line.endswith(text)]
    assert len(found) == 1, found
    return found[0], found[0].split()[1]
