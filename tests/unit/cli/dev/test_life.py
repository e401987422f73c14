"""What one life of the VM's process reports."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from vmsdk.cli.dev.life import Life
from vmsdk.host import control
from vmsdk.host.control import Control
from vmsdk.host.errors import CallFailed
from vmsdk.target import ExecutableTarget

PATIENCE_S = 60.0


def test_an_illness_is_reported_once_and_again_when_it_recurs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def health() -> None:
        if not checks:
            all_asked.set()
        elif not checks.pop(0):
            raise CallFailed("Health", "UNKNOWN", "disk full")

    monkeypatch.setattr(control, "HEALTH_INTERVAL_S", 0.001)
    checks = [False, False, True, False, False]  # whether it is healthy
    all_asked = threading.Event()
    screen = mock.Mock()
    chain = SimpleNamespace(health=health, next_event=lambda: None, end_events=lambda: None)
    host: Any = SimpleNamespace(chain=chain)
    control_of_chain = Control(None, restart=lambda kill: None)
    life = Life(
        mock.Mock(target=ExecutableTarget("vm", tmp_path / "vm")),
        mock.Mock(),
        screen,
        control=control_of_chain,
        clock=tmp_path / "clock",
        reset=False,
        on_end=lambda reason: None,
    )
    control_of_chain.begin(host, life._build_failed, life._builder_failed, life._health_checked)
    assert all_asked.wait(PATIENCE_S)
    control_of_chain.end()
    control_of_chain.join()
    (first, second) = [call.args[0] for call in screen.warning.call_args_list]
    assert first == second
    assert "unhealthy" in first
    assert "disk full" in first
