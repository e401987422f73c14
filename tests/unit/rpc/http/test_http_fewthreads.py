"""As few threads as will do, and the executor that grpcio gets."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from vmsdk.rpc.http.executor import FewThreadsExecutor
from vmsdk.rpc.http.fewthreads import FewThreads
from vmsdk.rpc.http.turn import Turn
from vmsdk.waiting import waiting

DEADLINE_S = 10.0
LIMIT = 4


@pytest.fixture
def turn() -> Iterator[Turn]:
    turn = Turn()
    yield turn
    turn.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "vmsdk-http-turn"]


@pytest.fixture
def threads(turn: Turn) -> Iterator[FewThreads]:
    few = FewThreads("few", turn, limit=LIMIT)
    yield few
    few.close()
    few.join()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("few")]


def test_jobs_run_in_their_order(threads: FewThreads) -> None:
    ran: list[int] = []
    done = threading.Event()
    threads.put([*(partial(ran.append, number) for number in range(100)), done.set])
    assert done.wait(DEADLINE_S)
    assert ran == list(range(100))


def test_what_waits_behind_a_stuck_job_gets_another_thread(threads: FewThreads) -> None:
    release, others = threading.Event(), threading.Event()
    threads.put([lambda: assert_released(release), others.set])
    assert others.wait(DEADLINE_S)
    release.set()


def test_what_comes_after_a_stuck_job_gets_another_thread(threads: FewThreads) -> None:
    stuck, release, others = threading.Event(), threading.Event(), threading.Event()
    threads.put([stuck.set, partial(assert_released, release)])
    assert stuck.wait(DEADLINE_S)
    threads.put([others.set])
    assert others.wait(DEADLINE_S)
    release.set()


def assert_released(release: threading.Event) -> None:
    assert release.wait(DEADLINE_S)


def test_there_are_never_more_threads_than_the_limit(threads: FewThreads) -> None:
    together = threading.Barrier(LIMIT)
    running, most, lock = 0, 0, threading.Lock()
    finished = threading.Semaphore(0)

    def job() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(DEADLINE_S)
        with lock:
            running -= 1
        finished.release()

    threads.put([job] * (3 * LIMIT))
    for _ in range(3 * LIMIT):
        assert finished.acquire(timeout=DEADLINE_S)
    assert most == LIMIT


def test_jobs_that_are_there_at_the_end_still_run(turn: Turn) -> None:
    few = FewThreads("few", turn, limit=1)
    ran: list[int] = []
    first = threading.Event()
    few.put([lambda: assert_released(first), lambda: ran.append(1)])
    few.close()
    first.set()
    few.join()
    assert ran == [1]


def test_the_end_does_not_wait_for_a_stuck_job(turn: Turn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmsdk.rpc.http.fewthreads.JOIN_TIMEOUT_S", 0.01)
    few = FewThreads("few", turn, limit=1)
    stuck, release = threading.Event(), threading.Event()

    def job() -> None:
        stuck.set()
        assert_released(release)

    few.put([job])
    assert stuck.wait(DEADLINE_S)
    few.close()
    few.join()
    release.set()


def test_a_pause_is_told_before_the_last_job_and_when_there_are_none(turn: Turn) -> None:
    order: list[str] = []
    few = FewThreads(
        "few", turn, before_job=lambda: order.append("before"), on_pause=lambda: order.append("pause")
    )
    few.put([lambda: order.append("job")])
    few.close()
    few.join()
    assert order == ["pause", "before", "job", "pause"]


class OneAtATime:
    """Counts who works at the same time."""

    def __init__(self) -> None:
        self.at_work = 0
        self.most = 0
        self.done = threading.Semaphore(0)

    def job(self) -> None:
        self._work()
        with waiting():
            pass
        self._work()
        self.done.release()

    def _work(self) -> None:
        # Without a lock: if two were at work, these would show it sooner or later.
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        for _ in range(20_000):
            pass
        self.at_work -= 1


def test_one_thread_works_at_a_time_in_all_sets_together(
    turn: Turn, threads: FewThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmsdk.rpc.http.fewthreads.PATIENCE_S", DEADLINE_S)
    monkeypatch.setattr("vmsdk.rpc.http.turn.STUCK_S", DEADLINE_S)
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    others = FewThreads("others", turn, limit=LIMIT)
    count = OneAtATime()
    try:
        for _ in range(100):
            threads.put([count.job])
            others.put([count.job])
        for _ in range(200):
            assert count.done.acquire(timeout=DEADLINE_S)
    finally:
        sys.setswitchinterval(interval_s)
        others.close()
        others.join()
    assert (count.most, count.at_work) == (1, 0)


def test_while_a_job_says_that_it_waits_others_run(
    threads: FewThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmsdk.rpc.http.turn.STUCK_S", DEADLINE_S)
    release, others, ended = threading.Event(), threading.Event(), threading.Event()

    def job() -> None:
        with waiting():
            assert_released(release)
        ended.set()

    threads.put([job, others.set])
    assert others.wait(DEADLINE_S / 2)
    assert not ended.is_set()
    release.set()
    assert ended.wait(DEADLINE_S)


def test_a_system_without_a_thread_to_spare_loses_no_job(
    threads: FewThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    done = [threading.Event() for _ in range(3)]
    with monkeypatch.context() as exhausted:
        exhausted.setattr(threading.Thread, "start", no_more)
        threads.put([done[0].set])
        threads.put([done[1].set])
    assert not any(event.is_set() for event in done)
    threads.put([done[2].set])
    for event in done:
        assert event.wait(DEADLINE_S)


def test_a_job_that_has_waited_may_hold_what_the_next_one_wants(
    threads: FewThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmsdk.rpc.http.turn.STUCK_S", DEADLINE_S)
    lock, release, ended = threading.Lock(), threading.Event(), threading.Event()

    def holder() -> None:
        with lock, waiting():
            assert_released(release)

    def wants() -> None:
        release.set()
        with lock:
            ended.set()

    threads.put([holder, wants])
    assert ended.wait(DEADLINE_S / 2)


class LateGate:
    """The gate of a thread that, when its patience has ended, gets no processor for a while."""

    def __init__(self, gate: threading.Lock, until: threading.Event) -> None:
        self._gate = gate
        self._until = until
        self.release = gate.release

    def acquire(self, timeout: float = -1) -> bool:
        acquired = self._gate.acquire(timeout=timeout)
        if not acquired:
            assert self._until.wait(DEADLINE_S)
        return acquired


def test_a_thread_may_get_the_turn_and_lose_it_in_the_moment_when_it_goes_on_without(
    threads: FewThreads,
) -> None:
    waits, go, stuck, lost, ended = (threading.Event() for _ in range(5))

    def waiter() -> None:
        thread: Any = threading.current_thread()
        thread.gate = LateGate(thread.gate, until=lost)
        with waiting():
            waits.set()
            assert_released(go)
        ended.set()

    def keeps_the_turn() -> None:
        go.set()
        assert_released(stuck)

    threads.put([waiter])
    assert waits.wait(DEADLINE_S)
    # The waiter's patience ends. Then it gets the turn, which is taken from the one that keeps it, and loses it
    # to the last.
    threads.put([keeps_the_turn, lost.set])
    assert ended.wait(DEADLINE_S)
    stuck.set()
    # Nothing is left that would let a thread go which is not asked to.
    again = threading.Semaphore(0)
    for _ in range(10):
        threads.put([again.release])
        assert again.acquire(timeout=DEADLINE_S)


def test_a_job_that_computes_keeps_its_turn_and_one_that_never_ends_loses_it(
    threads: FewThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmsdk.rpc.http.turn.LONG_S", 0.2)
    release, others = threading.Event(), threading.Event()
    others_at_s: list[float] = []

    def computes() -> None:
        begun_s = time.thread_time()
        while not release.is_set():
            pass
        others_at_s.append(time.thread_time() - begun_s)

    def other() -> None:
        others.set()
        release.set()

    threads.put([computes, other])
    assert others.wait(DEADLINE_S)
    threads.close()
    threads.join()
    if sys.platform == "linux":  # Elsewhere nobody tells that it computes.
        assert others_at_s[0] > 0.1


def test_work_begins_and_ends_as_often_whatever_happens_to_the_turn() -> None:
    working = 0

    def begin() -> None:
        nonlocal working
        working += 1

    def end() -> None:
        nonlocal working
        working -= 1

    turn = Turn(on_begin=begin, on_end=end)
    few = FewThreads("few", turn, limit=LIMIT)
    stuck = threading.Event()

    def waits() -> None:
        with waiting(), waiting():
            pass

    # The second takes the turn from the first, which has not said that it waits.
    few.put([partial(assert_released, stuck), waits, stuck.set, waits, waits])
    few.close()
    few.join()
    turn.close()
    assert working == 0


def test_the_executor_gives_results_exceptions_and_cancellations(threads: FewThreads) -> None:
    executor = FewThreadsExecutor(threads)
    assert executor.submit(divmod, 7, 2).result(DEADLINE_S) == (3, 1)
    assert executor.submit(int, "ff", base=16).result(DEADLINE_S) == 255
    assert isinstance(executor.submit(divmod, 1, 0).exception(DEADLINE_S), ZeroDivisionError)
    release = threading.Event()
    running = [executor.submit(release.wait, DEADLINE_S) for _ in range(LIMIT)]
    queued = executor.submit(pytest.fail, "a cancelled job was run")
    assert queued.cancel()
    release.set()
    assert [each.result(DEADLINE_S) for each in running] == [True] * LIMIT
    executor.shutdown()
