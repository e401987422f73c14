"""The shadow of a VM and the engine's lock."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from vmsdk.host import shadow
from vmsdk.host.errors import CallFailed, ChainFatal, HostError
from vmsdk.host.sqlite import SQLiteDatabase
from vmsdk.ids import NodeID


class FakeHost:
    """A host whose VM agrees with everything. Its `start` waits for *may_start* if there is one."""

    log: Callable[[str, str], None]

    def __init__(self, *, may_start: threading.Event | None = None, lock: Any = None) -> None:
        self._may_start = may_start
        self._lock = lock or threading.RLock()
        self.config = SimpleNamespace(
            identity=SimpleNamespace(node_id=NodeID(b"a" * 20)),
            protocol=SimpleNamespace(version=45),
            **dict.fromkeys(
                ("genesis", "config", "upgrade", "chain_id", "vm_id", "alias", "chain_data_dir"), b""
            ),
        )
        self.handshake_timeout_s = 1
        self.disk = SQLiteDatabase()
        self.space = self.disk.space(b"chain")
        self.services = SimpleNamespace(
            database=SimpleNamespace(space=self.space), network=SimpleNamespace(close=lambda: None)
        )
        self.looked = threading.Semaphore(0)
        """Released each time that the shadow looks for a block."""
        self.accepted: list[object] = []
        self.chain = SimpleNamespace(
            last_accepted=SimpleNamespace(height=0),
            connect=self._connect,
            disconnect=lambda peer: None,
            engine=self,
            parse_block=lambda raw: raw,
            verify=lambda block: None,
            accept=self.accepted.append,
        )
        self.client = SimpleNamespace(timeout_s=None)
        self.process = SimpleNamespace(kill=lambda: None, exit_code=None, alive=True)
        self.kill = self.stop = lambda: None

    @property
    def fault(self) -> None:
        self.looked.release()

    def start(self) -> None:
        if self._may_start is not None:
            self._may_start.wait(60)

    def _connect(self, peer: object) -> None:
        with self._lock:
            pass


BLOCK: Any = SimpleNamespace(raw=b"raw", height=1, id=b"")


def first_report(monkeypatch: pytest.MonkeyPatch, *own: FakeHost) -> str:
    """What a shadow reports first about a block, if its hosts are *own*, one after the other."""
    main: Any = FakeHost()
    left = iter(own)

    def host(*_: object, log: Callable[[str, str], None], **__: object) -> FakeHost:
        made = next(left)
        made.log = log
        return made

    monkeypatch.setattr(shadow, "Host", host)
    reports: queue.SimpleQueue[str] = queue.SimpleQueue()
    it = shadow.Shadow(main, [], report=reports.put, delay_s=0)
    it.block(BLOCK)
    try:
        return reports.get(timeout=60)
    finally:
        it.stop()
        for each in (main, *own):
            each.disk.close()


def test_a_shadow_that_starts_late_does_not_stop_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "MAX_WAITING_BLOCKS", 3)
    lock, may_start, all_noted = threading.RLock(), threading.Event(), threading.Event()
    main: Any = FakeHost(may_start=may_start, lock=lock)
    own = FakeHost(may_start=may_start)
    monkeypatch.setattr(shadow, "Host", lambda *_, **__: own)
    it = shadow.Shadow(main, [], report=print, delay_s=0)

    def accept() -> None:
        for _ in range(10):
            with lock:
                it.block(BLOCK)
        all_noted.set()

    engine = threading.Thread(target=accept, daemon=True)
    engine.start()
    try:
        assert all_noted.wait(60)
    finally:
        may_start.set()
        it.stop()
        main.disk.close()
        own.disk.close()


def test_a_block_is_not_blamed_for_a_shadow_that_had_exited_before(monkeypatch: pytest.MonkeyPatch) -> None:
    own = FakeHost()
    own.process.alive, own.process.exit_code = False, -signal.SIGKILL
    report = first_report(monkeypatch, own)
    assert "has exited: the plugin process died (SIGKILL)" in report
    assert own.accepted == []


class Unwilling(FakeHost):
    """A host whose VM does not start."""

    def start(self) -> None:
        raise HostError("no memory")


def test_a_shadow_that_does_not_start_again_is_reported_as_restarted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = FakeHost()
    killed: list[object] = []
    first.kill = lambda: killed.append(first)  # Not stopped, which may take a VM a while.
    report = first_report(monkeypatch, first, Unwilling())
    assert "has exited: restarted after block 1, it does not start again: no memory" in report
    assert killed == [first]


def test_a_shadow_that_ends_by_ctrl_c_while_it_starts_is_not_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main: Any = FakeHost()
    own = Unwilling()
    own.process.exit_code = -signal.SIGINT
    monkeypatch.setattr(shadow, "Host", lambda *_, **__: own)
    reports: list[str] = []
    it = shadow.Shadow(main, [], report=reports.append, delay_s=0)
    it._thread.join(60)
    it.stop()
    assert reports == []
    main.disk.close()
    own.disk.close()


@pytest.mark.parametrize("method", ["ParseBlock", "BlockVerify", "BlockAccept"])
def test_a_shadow_that_hangs_is_reported_with_its_block(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = FakeHost()

    def hang(block: object) -> None:
        assert own.client.timeout_s == shadow.BLOCK_TIMEOUT_S
        own.log("stderr", "12:00:00 (WARNING) vmsdk.watchdog: slow: it waits at vm.py:7")
        failed = CallFailed(method, "DEADLINE_EXCEEDED", "Deadline Exceeded")
        raise ChainFatal(failed) if method == "BlockAccept" else failed

    name = {"ParseBlock": "parse_block", "BlockVerify": "verify", "BlockAccept": "accept"}[method]
    setattr(own.chain, name, hang)
    report = first_report(monkeypatch, own)
    assert "hangs in the VM's shadow" in report
    assert f"{method} has not returned within 60 s (slow: it waits at vm.py:7)" in report


class Slow(FakeHost):
    """A host whose process appears when it has been killed once already, and whose VM hangs."""

    was_killed = False

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.kills = threading.Semaphore(0)
        self.process.kill = self.kills.release
        self.starting = threading.Event()

    def start(self) -> None:
        self.starting.set()
        self.was_killed = self.kills.acquire(timeout=60) and self.kills.acquire(timeout=60)
        raise HostError("killed")


def test_a_shadow_that_is_just_starting_is_stopped_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    may_start = threading.Event()
    main: Any = FakeHost(may_start=may_start)
    own = Slow(may_start=may_start)
    monkeypatch.setattr(shadow, "Host", lambda *_, **__: own)
    it = shadow.Shadow(main, [], report=print, delay_s=0)
    assert own.starting.wait(60)
    it.stop()
    assert own.was_killed
    main.disk.close()
    own.disk.close()


@pytest.mark.parametrize("differs", [False, True])
def test_what_a_block_has_written_whose_accept_hangs_is_not_a_difference(
    differs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "PAUSE_S", 0)
    lock, may_start = threading.RLock(), threading.Event()
    main: Any = FakeHost(may_start=may_start, lock=lock)
    own = FakeHost(may_start=may_start)
    monkeypatch.setattr(shadow, "Host", lambda *_, **__: own)
    main.space.put(b"genesis", b"1")
    own.space.put(b"genesis", b"2" if differs else b"1")
    reports: list[str] = []
    it = shadow.Shadow(main, [], report=reports.append, delay_s=0)
    main.space.put(b"block", b"1")  # by accept, which does not return
    may_start.set()
    for _ in range(1 if differs else 3):
        assert own.looked.acquire(timeout=60)
    if differs:
        it._thread.join(60)
    it.stop()
    main.disk.close()
    own.disk.close()
    assert [b"genesis".hex() in report for report in reports] == [True] * differs


class Idle(threading.Event):
    """Notices when the shadow is left idle."""

    def __init__(self, react: Callable[[], None]) -> None:
        super().__init__()
        self._react = react

    def wait(self, timeout: float | None = None) -> bool:
        if timeout:
            self._react()
        return self.is_set()


@pytest.mark.parametrize("here", [1, 2, 3])
@pytest.mark.parametrize("there", [1, 2, 3, None])
def test_what_is_pruned_at_another_block_is_not_a_difference(
    here: int, there: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With None, when the shadow gets no more blocks."""
    assert _follow(here, there, monkeypatch) == ([], [], 8)


def test_what_is_not_pruned_is_a_difference_also_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "PATIENCE_S", 0)
    (report,), suspects, accepted = _follow(1, 9, monkeypatch)
    assert report.startswith("after block 1, ")
    assert (suspects, accepted) == ([b"pruned"], 3)


def _follow(
    here: int, there: int | None, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[str], list[bytes], int]:
    """Let a shadow follow blocks 1 to 8. The VM prunes at block *here*, the shadow at *there*."""
    monkeypatch.setattr(shadow, "PAUSE_S", 0.1)
    may_start = threading.Event()
    main: Any = FakeHost(may_start=may_start)
    own = FakeHost(may_start=may_start)
    monkeypatch.setattr(shadow, "Host", lambda *_, **__: own)

    def prune() -> None:
        own.space.delete(b"pruned")

    def accept(height: int) -> None:
        own.accepted.append(height)
        if height == there:
            prune()

    own.chain.accept = accept
    main.space.put(b"pruned", b"value")
    own.space.put(b"pruned", b"value")
    reports: list[str] = []

    def report(text: str) -> None:
        reports.append(text)
        own.looked.release()

    it = shadow.Shadow(main, [], report=report, delay_s=0)
    it._stopping = Idle((lambda: None) if there else prune)
    for height in range(1, 9):
        if height == here:
            main.space.delete(b"pruned")
        block: Any = SimpleNamespace(raw=height, height=height, id=height)
        it.block(block)
    may_start.set()
    for _ in range(9):
        if not reports:
            assert own.looked.acquire(timeout=60)
    it.stop()
    main.disk.close()
    own.disk.close()
    return reports, list(it._suspects), len(own.accepted)
