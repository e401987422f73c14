"""A node that joins late downloads the state, and does not execute the blocks before it."""

from __future__ import annotations

import re
from collections.abc import Callable

from vmsdk.network import LocalNetwork, NodeBinary

from .targets import ARCHIVE, lines_until

BLOCKS = 9  # with checkpoints at heights 4 and 8


def test_a_late_node_syncs_the_state_and_continues_with_the_others(
    node: NodeBinary, make_network: Callable[..., LocalNetwork]
) -> None:
    network = make_network(ARCHIVE, node=node.path, nodes=3)
    network.start()
    chain = network.chain
    for number in range(BLOCKS):
        chain.client(network.nodes[number % 3]).call("submit", text=f"text {number}")
        network.wait_for_height(number + 1)
    for each in network.nodes:
        lines_until(chain.log(each), "wrote the checkpoint at height 8")

    late = network.add_node()
    lines = lines_until(chain.log(late), "state sync: the last accepted block is ")
    assert re.search(r"at height 8\b", lines[-1])
    network.wait_for_height(BLOCKS, nodes=[late])
    state = chain.client(late).call("state")
    assert state["blocks"] == [0, 8, 9]  # it began with genesis
    assert state["digest"] == chain.client(network.nodes[0]).call("state")["digest"]

    chain.client(late).call("submit", text="of the late node")
    network.wait_for_height(BLOCKS + 1)
    states = [chain.client(each).call("state") for each in network.nodes]
    assert [each["height"] for each in states] == [BLOCKS + 1] * 4
    assert len({each["digest"] for each in states}) == 1

    late.restart()
    assert chain.client(late).call("state")["blocks"] == [0, 8, 9, 10]
