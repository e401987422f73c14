"""A chain's log in a real node, at the level and in the format that its operator sets."""

from __future__ import annotations

import json
from collections.abc import Callable

from vmsdk.network import LocalNetwork, NewChain, NodeBinary

from .targets import TIMESTAMP, lines_until


def test_the_chains_config_and_then_the_file_set_level_and_format(
    make_network: Callable[..., LocalNetwork], any_node: NodeBinary
) -> None:
    config = json.dumps({"vmsdk": {"log-format": "json"}}).encode()
    network = make_network(NewChain(TIMESTAMP, config=config), nodes=1, node=any_node.path)
    network.start()
    [node] = network.nodes
    log = network.chain.log(node)
    lines = lines_until(log, "the node set the state NORMAL_OP")
    [record] = [json.loads(line) for line in lines if "set the state NORMAL_OP" in line and line[0] == "{"]
    assert (record["level"], record["logger"]) == ("info", "timestampvm")
    settings = node.directory / "chainData" / str(network.chain.id) / "vmsdk.json"
    settings.write_text('{"log-level": "debug", "log-format": "plain"}')
    assert any(" INFO vmsdk: log-format is now plain" in line for line in lines_until(log, "is now plain: "))
