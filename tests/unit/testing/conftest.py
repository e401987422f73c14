"""Patience: a busy machine may take longer than the seconds that authors want to wait."""

from __future__ import annotations

import pytest

from vmsdk.testing import Chain

PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmsdk.testing.chain.EVENT_TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr(Chain.wait_until, "__defaults__", (PATIENCE_S,))
