"""`ctx.lock`: a reentrant lock that tells when a thread waits for it."""

from __future__ import annotations

import threading

import pytest

from vmsdk.chainlock import ChainLock
from vmsdk.waiting import schedule_this_thread

DEADLINE_S = 10.0


class Told:
    """Hears of a thread's waits."""

    def __init__(self) -> None:
        self.paused = threading.Event()
        self.resumed = threading.Event()

    def pause(self) -> None:
        self.paused.set()

    def resume(self) -> None:
        self.resumed.set()


def test_a_thread_may_take_it_again_and_gives_it_back_as_often() -> None:
    lock = ChainLock()
    with lock, lock:
        pass
    taken: list[bool] = []
    thread = threading.Thread(target=lambda: taken.append(lock.acquire(blocking=False)))
    thread.start()
    thread.join(DEADLINE_S)
    assert taken == [True]


def test_what_another_thread_holds_is_not_taken() -> None:
    lock = ChainLock()
    taken: list[bool] = []

    def other() -> None:
        taken.append(lock.acquire(blocking=False))
        taken.append(lock.acquire(timeout=0.001))
        with pytest.raises(RuntimeError):
            lock.release()

    with lock:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(DEADLINE_S)
    assert taken == [False, False]


def test_a_thread_tells_that_it_waits_only_if_it_has_to() -> None:
    lock, told, holds = ChainLock(), Told(), threading.Event()

    def other() -> None:
        schedule_this_thread(told)
        with ChainLock():
            assert not told.paused.is_set()
        with lock:
            holds.set()

    with lock:
        thread = threading.Thread(target=other)
        thread.start()
        assert told.paused.wait(DEADLINE_S)
        assert not told.resumed.is_set()
    assert holds.wait(DEADLINE_S)
    assert told.resumed.is_set()
    thread.join(DEADLINE_S)


def test_a_condition_can_be_made_with_it() -> None:
    lock = ChainLock()
    condition = threading.Condition(lock)  # type: ignore[arg-type]

    def other() -> None:
        with condition:
            condition.notify_all()

    with lock, condition:
        thread = threading.Thread(target=other)
        thread.start()
        # Gives back both levels, or the other thread could not notify.
        assert condition.wait(DEADLINE_S)
    thread.join(DEADLINE_S)
