"""The signals that a plugin catches."""

from __future__ import annotations

import signal

import pytest

from vmsdk.runtime.ending import Signals


def test_signals_that_windows_lacks_are_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SIGPIPE", "SIGALRM", "setitimer", "pthread_sigmask"):
        monkeypatch.delattr(signal, name)
    signals = Signals()
    signals.release()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
