"""Transactions reach the mempools of all nodes, without a block."""

from __future__ import annotations

import time
from collections.abc import Callable

from vmsdk.network import LocalNetwork, Node, NodeBinary

from .targets import WAITING

TIMEOUT_S = 60.0
POLL_S = 0.02


def wait_until_waiting(network: LocalNetwork, node: Node, expected: set[str]) -> None:
    client = network.chain.client(node)
    deadline = time.monotonic() + TIMEOUT_S
    while (waiting := set(client.call("waiting"))) != expected:
        assert time.monotonic() < deadline, f"{len(waiting)} of {len(expected)} reached {node.name}"
        time.sleep(POLL_S)


def test_transactions_reach_all_nodes_and_come_back_to_one_that_lost_them(
    make_network: Callable[..., LocalNetwork], any_node: NodeBinary
) -> None:
    network = make_network(WAITING, nodes=3, node=any_node.path)
    network.start()
    one, two, three = network.nodes
    sent = {f"transaction {number}" for number in range(200)}
    for text in sorted(sent):
        network.chain.client(one).call("submit", text=text)
    for node in (two, three):
        wait_until_waiting(network, node, sent)

    # A mempool is in memory. The others don't push what was pushed to them: the node pulls.
    one.kill()
    one.start()
    wait_until_waiting(network, one, sent)
