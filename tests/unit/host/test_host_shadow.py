"""The shadow of a VM and the engine's lock."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from vmsdk.host import shadow
from vmsdk.ids import NodeID


class FakeHost:
    """A host whose VM agrees with everything. Its `start` waits for *may_start*."""

    def __init__(self, *, may_start: threading.Event, lock: Any) -> None:
        self._may_start = may_start
        self._lock = lock
        self.config = SimpleNamespace(
            identity=SimpleNamespace(node_id=NodeID(b"a" * 20)),
            protocol=SimpleNamespace(version=45),
            **dict.fromkeys(
                ("genesis", "config", "upgrade", "chain_id", "vm_id", "alias", "chain_data_dir"), b""
            ),
        )
        self.handshake_timeout_s = 1
        space = SimpleNamespace(
            record=lambda: SimpleNamespace(take=dict, stop=lambda: None), count=lambda: 0, items=tuple
        )
        self.services = SimpleNamespace(
            database=SimpleNamespace(space=space), network=SimpleNamespace(close=lambda: None)
        )
        self.accepted: list[object] = []
        self.chain = SimpleNamespace(
            last_accepted=SimpleNamespace(height=0),
            connect=self._connect,
            disconnect=lambda peer: None,
            engine=SimpleNamespace(fault=None),
            parse_block=lambda raw: raw,
            verify=lambda block: None,
            accept=self.accepted.append,
        )
        self.process = SimpleNamespace(kill=lambda: None)
        self.kill = lambda: None

    def start(self) -> None:
        self._may_start.wait(30)

    def _connect(self, peer: object) -> None:
        with self._lock:
            pass


def test_a_shadow_that_starts_late_does_not_stop_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "MAX_WAITING_BLOCKS", 3)
    lock, may_start, all_noted = threading.RLock(), threading.Event(), threading.Event()
    main: Any = FakeHost(may_start=may_start, lock=lock)
    own = FakeHost(may_start=may_start, lock=threading.RLock())
    monkeypatch.setattr(shadow, "Host", lambda *_, **__: own)
    it = shadow.Shadow(main, [], report=print, delay_s=0)

    block: Any = SimpleNamespace(raw=b"raw", height=1, id=b"")

    def accept() -> None:
        for _ in range(10):
            with lock:
                it.block(block)
        all_noted.set()

    engine = threading.Thread(target=accept, daemon=True)
    engine.start()
    try:
        assert all_noted.wait(10)
    finally:
        may_start.set()
        it.stop()
