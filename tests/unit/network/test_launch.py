"""One run of a node, as its logs show it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vmsdk.network.errors import PluginFailed
from vmsdk.network.launch import Launch
from vmsdk.network.state import ChainRecord

CHAIN = ChainRecord("ts", "chain ID", "subnet ID", "VM ID", "timestampvm", "vm.py:VM", "00")
FAILED = (
    "[11-28|00:00:00.000] ERROR chains/manager.go:422 error creating chain "
    '{"chainID": "chain ID", "error": "handshake failed: vm process not found"}\n'
)
TOLD_TO_END = "runtime engine: ignoring signal: terminated\n"


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """A node that does nothing and listens nowhere; the tests write its logs."""
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\nexec sleep 1000\n")
    node.chmod(0o755)
    flags = {"plugin-dir": str(tmp_path / "plugins"), "data-dir": str(tmp_path / "data")}
    launch = Launch("node1", str(node), flags)
    (tmp_path / "data" / "logs").mkdir()
    launch.uri = "http://127.0.0.1:1"
    yield launch
    launch.process.kill()


def wait_until_running(launch: Launch) -> None:
    while not launch.runs(CHAIN):
        pass


def test_the_last_output_of_a_plugin_may_be_logged_after_its_failure(launch: Launch, tmp_path: Path) -> None:
    logs = tmp_path / "data" / "logs"
    (logs / "main.log").write_text(FAILED)
    assert not launch.runs(CHAIN)
    (logs / "ts.log").write_text(TOLD_TO_END)
    with pytest.raises(PluginFailed) as caught:
        wait_until_running(launch)
    assert caught.value.lines == (TOLD_TO_END.strip(),)
    assert caught.value.plugin_was_slow
