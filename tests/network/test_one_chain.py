"""Every node is connected to every other, so the chain stays one chain whichever of them is
killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from vmsdk.network import LocalNetwork, Node, NodeBinary

from .targets import TIMESTAMP, last_block, propose

MakeNetwork = Callable[..., LocalNetwork]
TIMEOUT_S = 60.0
POLL_S = 0.02


def assert_full_mesh(network: LocalNetwork) -> None:
    running = [node for node in network.nodes if node.status == "running"]
    ids = {str(node.node_id) for node in running}
    assert {node.name: node.peers() for node in running} == {
        node.name: ids - {str(node.node_id)} for node in running
    }


def wait_until_unknown(gone: Node, others: list[Node]) -> None:
    """Wait until the others have noticed that its connections are closed."""
    deadline = time.monotonic() + TIMEOUT_S
    while any(str(gone.node_id) in node.peers() for node in others):
        assert time.monotonic() < deadline, f"{gone.name} was killed, and others keep it as a peer"
        time.sleep(POLL_S)


def propose_at_each(network: LocalNetwork) -> None:
    """Proposes a block at each node that runs; all of them must accept it, and have the same chain
    then.
    """
    running = [node for node in network.nodes if node.status == "running"]
    for node in running:
        network.wait_for_height(propose(network, node, node.name.encode()))
        tips = {last_block(network, each)["id"] for each in running}
        assert len(tips) == 1


def test_the_first_of_three_nodes_is_killed_and_comes_back(
    node: NodeBinary, make_network: MakeNetwork
) -> None:
    kill_the_first_and_restart_all(make_network(TIMESTAMP, node=node.path, nodes=3))


def test_the_first_of_five_nodes_is_killed_and_comes_back(
    any_node: NodeBinary, make_network: MakeNetwork
) -> None:
    kill_the_first_and_restart_all(make_network(TIMESTAMP, node=any_node.path, nodes=5))


def kill_the_first_and_restart_all(network: LocalNetwork) -> None:
    network.start()
    count = len(network.nodes)
    assert_full_mesh(network)
    propose_at_each(network)

    first = network.nodes[0]
    first.kill()
    wait_until_unknown(first, network.nodes[1:])
    assert_full_mesh(network)
    propose_at_each(network)

    first.start()
    assert_full_mesh(network)
    network.wait_for_height(2 * count - 1)
    propose_at_each(network)

    network.stop()
    network.start()
    assert_full_mesh(network)
    propose_at_each(network)
    assert {network.chain.height(each) for each in network.nodes} == {4 * count - 1}


def test_a_node_that_was_behind_when_all_were_stopped_takes_the_others_chain(
    any_node: NodeBinary, make_network: MakeNetwork
) -> None:
    network = make_network(TIMESTAMP, node=any_node.path, nodes=3)
    network.start()
    network.nodes[0].kill()
    propose_at_each(network)
    network.stop()
    network.start()
    network.wait_for_height(2)
    propose_at_each(network)


def test_nodes_that_come_later_are_connected_to_all(any_node: NodeBinary, make_network: MakeNetwork) -> None:
    network = make_network(TIMESTAMP, node=any_node.path, nodes=2)
    network.start()
    network.add_node()
    assert_full_mesh(network)
    network.restart()
    assert_full_mesh(network)
    for node in network.nodes[:2]:
        node.kill()
    added = network.add_node()
    assert added.peers() == {str(network.nodes[2].node_id)}
    network.start()
    assert_full_mesh(network)
    propose_at_each(network)
