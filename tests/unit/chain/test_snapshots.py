"""Snapshots: unchanged while they are open, bounded in age and number."""

from __future__ import annotations

import sys
import threading

import pytest

from vmsdk import chain
from vmsdk.chain.accepted import AcceptedState
from vmsdk.memorydb import MemoryDatabase


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def write(state: AcceptedState, **values: bytes | None) -> None:
    with state.commit({key.encode(): value for key, value in values.items()}):
        pass


def test_a_snapshot_keeps_what_later_commits_overwrite() -> None:
    state = AcceptedState(MemoryDatabase(), cache_bytes=0)
    write(state, a=b"1", b=b"1")
    snapshot = state.open_snapshot()
    write(state, a=b"2", c=b"2")
    later = state.open_snapshot()
    write(state, a=None, b=b"3")
    assert list(snapshot.scan()) == [(b"a", b"1"), (b"b", b"1")]
    assert list(later.scan()) == [(b"a", b"2"), (b"b", b"1"), (b"c", b"2")]
    assert list(state.scan()) == [(b"b", b"3"), (b"c", b"2")]
    assert snapshot.get_many([b"a", b"b", b"c"]) == [b"1", b"1", None]
    snapshot.close()
    assert later.get(b"a") == b"2"
    later.close()
    assert not state._undo


def test_a_scan_that_is_under_way_is_not_disturbed() -> None:
    state = AcceptedState(MemoryDatabase())
    write(state, a=b"1", b=b"1", c=b"1")
    snapshot = state.open_snapshot()
    pairs = snapshot.scan()
    assert next(pairs) == (b"a", b"1")
    write(state, b=b"2", c=None)
    assert list(pairs) == [(b"b", b"1"), (b"c", b"1")]


def test_too_many_are_refused_until_one_closes() -> None:
    state = AcceptedState(MemoryDatabase(), max_snapshots=2)
    first, _second = state.open_snapshot(), state.open_snapshot()
    with pytest.raises(chain.SnapshotUnavailable, match="2 snapshots are open"):
        state.open_snapshot()
    first.close()
    state.open_snapshot()


def test_one_that_is_too_old_says_so() -> None:
    clock = Clock()
    state = AcceptedState(MemoryDatabase(), snapshot_seconds=30, clock=clock)
    snapshot = state.open_snapshot()
    clock.now = 31
    write(state, a=b"1")
    with pytest.raises(chain.SnapshotUnavailable, match="closed or too old"):
        snapshot.get(b"a")
    assert not state._undo


def test_one_that_has_outlived_too_many_blocks_says_so() -> None:
    state = AcceptedState(MemoryDatabase(), snapshot_commits=2)
    snapshot = state.open_snapshot()
    for number in range(2):
        write(state, a=b"%d" % number)
        assert snapshot.get(b"a") is None
    write(state, a=b"3")
    with pytest.raises(chain.SnapshotUnavailable, match="for 2 blocks"):
        snapshot.get(b"a")


def test_nothing_is_read_for_a_commit_without_snapshots() -> None:
    class Unreadable(MemoryDatabase):
        def _get(self, key: bytes) -> bytes | None:
            assert key == b"mstate", "read"  # where the state is, at the start
            return None

    state = AcceptedState(Unreadable())
    write(state, a=b"1")
    assert state.get(b"a") == b"1"  # from the cache


def test_after_a_failed_commit_no_snapshot_opens() -> None:
    state = AcceptedState(MemoryDatabase())
    with pytest.raises(RuntimeError), state.commit({b"a": b"1"}):
        raise RuntimeError("the disk is full")
    with pytest.raises(Exception, match=r"could not be stored: the disk is full"):
        state.open_snapshot()
    assert MemoryDatabase().get(b"sa") is None


@pytest.mark.parametrize("cache_bytes", [0, 1_000, 1 << 20])
def test_snapshots_taken_by_threads_beside_commits_are_consistent(cache_bytes: int) -> None:
    """Each commit writes one number to every second key and deletes the others."""
    state = AcceptedState(MemoryDatabase(), cache_bytes=cache_bytes, snapshot_commits=1 << 30)
    keys = [b"key%d" % number for number in range(10)]

    def commit(number: int) -> None:
        value = b"%d" % number
        with state.commit({key: value if (place + number) % 2 else None for place, key in enumerate(keys)}):
            pass

    commit(0)
    failures: list[BaseException] = []
    ended = threading.Event()

    def read() -> None:
        try:
            while not ended.is_set():
                snapshot = state.open_snapshot()
                for _ in range(3):
                    single = [snapshot.get(key) for key in keys]
                    many = snapshot.get_many(keys)
                    scanned = dict(snapshot.scan(b"key"))
                    number = int(next(iter(scanned.values())))
                    expected = [b"%d" % number if (place + number) % 2 else None for place in range(10)]
                    assert single == many == [scanned.get(key) for key in keys] == expected
                snapshot.close()
        except BaseException as error:  # noqa: BLE001 - reported by the test
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for number in range(1, 500):
            commit(number)
    finally:
        sys.setswitchinterval(interval)
        ended.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert not state._undo
