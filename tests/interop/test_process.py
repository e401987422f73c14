"""The life of a Python plugin's process under every node's own runtime code."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from .gohost import NORMAL_OPERATION, GoHost, GoHostError
from .nodes import Node
from .processes import gone, overloaded
from .pyplugin import EVERYTHING, TIMESTAMP, python_plugin


def test_a_registration_launch_ends_in_order(host: GoHost, node: Node, tmp_path: Path) -> None:
    plugin = python_plugin(tmp_path, EVERYTHING, node.protocol)
    assert host.register(plugin) == "7.8.9"
    if "subprocess was killed" in host.log and overloaded():
        host.register(plugin)  # the 5 s that a node waits were too short for this machine
    assert "Traceback" not in host.log_with("subprocess gracefully shutdown", "stderr collector shutdown")


def test_a_wrong_version_is_refused_and_both_sides_say_the_numbers(
    host: GoHost, node: Node, tmp_path: Path
) -> None:
    other = node.protocol - 1 if node.protocol > 35 else 36
    with pytest.raises(GoHostError, match="protocol version mismatch") as refused:
        host.start(python_plugin(tmp_path, TIMESTAMP, other))
    assert re.search(rf"implements RPCChainVM protocol version {node.protocol}\b", refused.value.text)
    assert re.search(rf"implements RPCChainVM protocol version {other}\b", refused.value.text)
    log = host.log_with("stderr collector shutdown")
    (line,) = [line for line in log.splitlines() if line.startswith("vmsdk: ")]
    assert str(node.protocol) in line
    assert str(other) in line
    host.start(python_plugin(tmp_path, TIMESTAMP, node.protocol))


def test_signals_before_shutdown_do_not_end_the_plugin(host: GoHost, node: Node, tmp_path: Path) -> None:
    genesis = host.run(python_plugin(tmp_path, TIMESTAMP, node.protocol))
    for number in (signal.SIGTERM, signal.SIGINT):
        host.signal(number)
    assert host.set_state(NORMAL_OPERATION) == genesis
    host.shutdown()
    assert "subprocess gracefully shutdown" in host.log


def test_a_plugin_ends_with_a_node_that_is_killed(host: GoHost, node: Node, tmp_path: Path) -> None:
    pid = host.start(python_plugin(tmp_path, TIMESTAMP, node.protocol)).pid
    host.initialize()
    host.kill()
    assert gone(pid)


def test_what_a_plugin_prints_reaches_the_node_s_log(host: GoHost, node: Node, tmp_path: Path) -> None:
    plugin = python_plugin(tmp_path, EVERYTHING, node.protocol)
    host.run(plugin)
    host.app_request(b"\x01" * 20, 1, b"bug")
    host.next_sent()
    host.shutdown()
    log = host.log_with("ZeroDivisionError: a bug in the handler", "stderr collector shutdown")
    assert log.count("Traceback (most recent call last)") == 1


def test_a_plugin_that_cannot_be_started_is_named(host: GoHost, tmp_path: Path) -> None:
    plugin = tmp_path / "not-executable"
    plugin.write_text("nothing")
    with pytest.raises(GoHostError, match="not-executable"):
        host.start(plugin)


def test_the_host_reports_its_version_as_a_node_does(host: GoHost, node: Node) -> None:
    told = subprocess.run([host.binary, "--version"], capture_output=True, text=True, check=True).stdout
    name, number = node.application, node.version.removeprefix("v")
    assert re.fullmatch(rf"{name}/{number} \[database=.+, rpcchainvm={node.protocol}, go=.+\]\n", told)
    told = subprocess.run([host.binary, "--version-json"], capture_output=True, text=True, check=True).stdout
    assert json.loads(told)["rpcchainvm"] == node.protocol
