"""What the tests of processes share."""

from __future__ import annotations

import pytest

from vmsdk.host.node import Host
from vmsdk.host.plugin import PluginProcess

from .plugin import PATIENCE_S


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a plugin take more than 5 s to start, to report work and to end, on a busy machine."""
    for started in (Host.__init__, PluginProcess.__init__):
        defaults = started.__kwdefaults__
        assert defaults is not None
        for name in ("handshake_timeout_s", "stop_timeout_s"):
            monkeypatch.setitem(defaults, name, PATIENCE_S)
    monkeypatch.setattr("vmsdk.testing.chain.EVENT_TIMEOUT_S", PATIENCE_S)
