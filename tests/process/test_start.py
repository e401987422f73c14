"""One way to start: a module's import has the same outcome in dev, on trial and on a node."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vmsdk.cli.dev.launch import Starter
from vmsdk.host.clock import Clock
from vmsdk.host.node import Host
from vmsdk.install.installation import install
from vmsdk.protocol import DEFAULT_PROTOCOL
from vmsdk.target import find

from .oddities import DONE, FILES, ODDITIES, write
from .plugin import PATIENCE_S, Lines

pytestmark = pytest.mark.slow

REPORTS = {
    "handler of SIGTERM": "WARN vmsdk: the VM's code has set a handler for SIGTERM, which vmsdk replaces",
    "logging.config": "WARN vmsdk: the VM's code has set a handler for SIGTERM, which vmsdk replaces",
    "handler of SIGPIPE": "WARN vmsdk: SIGPIPE is ignored again",
    "alarm": "WARN vmsdk: the alarm that the VM's code has set is cancelled",
}


def installed(source: Path | str, tmp_path: Path) -> Path:
    plugins = tmp_path / "plugins"
    plugins.mkdir(exist_ok=True)
    return install(str(source), plugin_dir=plugins).path


def lives(command: list[str] | Path) -> str:
    """Run a whole life of the plugin, with one block; returns its log."""
    lines = Lines()
    host = Host(command, protocol=DEFAULT_PROTOCOL, log=lines, handshake_timeout_s=PATIENCE_S)
    with host:
        assert host.chain.version() == "1.0.0"
        assert host.process.send_signal(15)
        assert host.chain.last_accepted.height == 0
    assert host.process.exit_code == 0, lines.text
    assert "Traceback" not in lines.text
    return lines.text


@pytest.mark.parametrize("oddity", ODDITIES)
def test_a_modules_oddity_has_no_effect_in_dev_on_trial_and_on_a_node(tmp_path: Path, oddity: str) -> None:
    source = write(tmp_path / "source", ODDITIES[oddity])
    starter = Starter(
        find(str(source)),
        protocol=DEFAULT_PROTOCOL,
        log_level="info",
        reload=False,
        clock=Clock(tmp_path / "clock").file,
        debug=None,
    )
    try:
        assert starter.name() == "oddvm"
        in_dev = lives(starter.command)
    finally:
        starter.close()
    on_node = lives(installed(source, tmp_path))
    for log in (in_dev, on_node):
        assert DONE in log
        assert REPORTS.get(oddity, "") in log


@pytest.mark.parametrize("name", FILES)
def test_a_file_may_be_called_like_a_module_of_python(tmp_path: Path, name: str) -> None:
    lives(installed(write(tmp_path / "source", "", name), tmp_path))


def test_the_nodes_working_directory_means_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path / "source", "").parent)
    plugin = installed("oddvm", tmp_path)
    elsewhere = tmp_path / "node"
    elsewhere.mkdir()
    for name in ("oddvm", "oddvm.py", "examples", "vmsdk"):
        (elsewhere / name).write_text("raise SystemExit('not this one')\n", encoding="utf-8")
    monkeypatch.chdir(elsewhere)
    lives(plugin)
    for file in elsewhere.iterdir():
        file.unlink()
    elsewhere.rmdir()
    lives(plugin)


def test_a_vm_by_another_user_is_tried_as_that_user(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vmsdk", "install", "x.py", "--plugin-dir", tmp_path, "--as", "nosuchuser"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 1
    assert "there is no user nosuchuser" in done.stderr or "--as needs root" in done.stderr
