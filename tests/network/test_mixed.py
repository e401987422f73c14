"""Validators in Python and in Go on one network: each accepts the other's blocks and bootstraps
from the other alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gobuild import GO_IS_MISSING, go_version
from tests.interop.build import build
from tests.interop.nodes import NODES
from vmsdk.network import LocalNetwork, Node, NodeBinary

from .conftest import Command, processes_in
from .targets import TIMESTAMP, data_of, last_block, propose

MakeNetwork = Callable[..., LocalNetwork]


@pytest.fixture
def go_vm(node: NodeBinary) -> Path:
    """The timestamp VM in Go, for the node's protocol."""
    if go_version() is None:
        if os.environ.get("CI"):
            pytest.fail(GO_IS_MISSING)
        pytest.skip(GO_IS_MISSING)
    return build("timestampvm", NODES[str(node.protocol)])


def plugins_of(node: Node) -> list[str]:
    """The programs that run the node's chains."""
    processes = [each for each in processes_in(node.directory.parent) if each.ppid() == node.record.pid]
    return [process.cmdline()[0] for process in processes]


def chain_of(network: LocalNetwork, node: Node) -> list[bytes]:
    """The data of all blocks, the newest first."""
    client, block = network.chain.client(node), last_block(network, node)
    chain = [data_of(block)]
    while block["height"] > 0:
        block = client.call("timestampvm.getBlock", id=block["parentID"])
        chain.append(data_of(block))
    return chain


def test_each_accepts_the_others_blocks_and_bootstraps_from_the_other(
    node: NodeBinary, make_network: MakeNetwork, go_vm: Path
) -> None:
    network = make_network(TIMESTAMP, node=node.path, nodes=2, node_plugins={2: go_vm})
    network.start()
    python, go = network.nodes
    assert [Path(each).parent for each in plugins_of(go)] == [go.directory / "plugins"]
    for number in range(3):
        network.wait_for_height(propose(network, python, b"python%d" % number))
        network.wait_for_height(propose(network, go, b"go%d" % number))
    blocks = chain_of(network, python)
    assert chain_of(network, go) == blocks
    assert blocks[:6] == [b"go2", b"python2", b"go1", b"python1", b"go0", b"python0"]

    go.kill()
    second_go = network.add_node(plugin=go_vm)
    assert chain_of(network, second_go) == blocks
    go.start()

    python.kill()
    second_go.kill()
    second_python = network.add_node()
    assert chain_of(network, second_python) == blocks
    network.start()
    network.wait_for_height(propose(network, second_python, b"after all"))
    assert {tuple(chain_of(network, each)) for each in network.nodes} == {(b"after all", *blocks)}


def test_nothing_that_is_proposed_in_a_burst_at_all_nodes_is_lost(
    node: NodeBinary, make_network: MakeNetwork, go_vm: Path
) -> None:
    network = make_network(TIMESTAMP, node=node.path, nodes=4, node_plugins={2: go_vm, 4: go_vm})
    network.start()
    proposed = set()
    for number in range(5):
        for each in network.nodes:
            data = f"{each.name}-{number}".encode()
            network.chain.client(each).call("timestampvm.proposeBlock", data=f"0x{data.hex()}")
            proposed.add(data)
    network.wait_for_height(len(proposed), timeout_s=120)
    chains = {tuple(chain_of(network, each)) for each in network.nodes}
    assert len(chains) == 1
    (chain,) = chains
    assert sorted(chain[:-1]) == sorted(proposed)


def test_the_command_gives_a_node_its_own_plugin(
    any_node: NodeBinary, command: Command, tmp_path: Path
) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text("#!/bin/sh\necho out of order >&2\n")
    plugin.chmod(0o755)
    done = command.run("start", TIMESTAMP, "--node-plugin", f"1={plugin}", "--detach")
    assert done.returncode == 1
    assert "node1 could not start the plugin" in done.stderr
    assert "out of order" in done.stderr
    for wrong, words in [
        ("plugin", "'plugin' is not a node's plugin: give N=PATH"),
        (f"2={plugin}", "a plugin is given for node 2, but the network has 1"),
        (f"1={tmp_path}/none", f"there is no file {tmp_path}/none"),
        (f"1={TIMESTAMP.partition(':')[0]}", "is Python source, and a plugin is an executable"),
    ]:
        done = command.run("start", TIMESTAMP, "--node-plugin", wrong, "--detach")
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr
    twice = [f"--node-plugin=1={plugin}"] * 2
    assert f"node 1 gets two plugins: {plugin} and {plugin}" in command.run("start", TIMESTAMP, *twice).stderr
    both = command.run("start", TIMESTAMP, f"--plugin={plugin}").stderr
    assert f"both {TIMESTAMP} and --plugin {plugin} name a VM: give one of them" in both
