"""A chain's log in a real node, at the level and in the format that its operator sets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from vmsdk.network import LocalNetwork, NewChain, NodeBinary

TARGET = Path(__file__).resolve().parents[2] / "examples" / "timestamp" / "timestampvm.py"
TIMEOUT_S = 30.0


def wait_for(log: Path, text: str) -> list[str]:
    """The lines of the log, once it contains *text*."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while text not in (content := log.read_text(encoding="utf-8")):
        assert time.monotonic() < deadline_s, f"no {text!r} in {content}"
    return content.splitlines()


def test_the_chains_config_and_then_the_file_set_level_and_format(
    make_network: Callable[..., LocalNetwork], any_node: NodeBinary
) -> None:
    config = json.dumps({"vmsdk": {"log-format": "json"}}).encode()
    network = make_network(NewChain(f"{TARGET}:TimestampVM", config=config), nodes=1, node=any_node.path)
    network.start()
    [node] = network.nodes
    log = network.chain.log(node)
    lines = wait_for(log, "the node set the state NORMAL_OP")
    [record] = [json.loads(line) for line in lines if "set the state NORMAL_OP" in line and line[0] == "{"]
    assert (record["level"], record["logger"]) == ("info", "timestampvm")
    settings = node.directory / "chainData" / str(network.chain.id) / "vmsdk.json"
    settings.write_text('{"log-level": "debug", "log-format": "plain"}')
    assert any(" INFO vmsdk: log-format is now plain" in line for line in wait_for(log, "is now plain: "))
