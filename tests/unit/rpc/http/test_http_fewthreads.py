"""As few threads as will do, and the executor that grpcio gets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import pytest

from vmsdk.rpc.http.executor import FewThreadsExecutor
from vmsdk.rpc.http.fewthreads import FewThreads

DEADLINE_S = 10.0
LIMIT = 4


@pytest.fixture
def threads() -> Iterator[FewThreads]:
    few = FewThreads("few", limit=LIMIT)
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


def test_jobs_that_are_there_at_the_end_still_run() -> None:
    few = FewThreads("few", limit=1)
    ran: list[int] = []
    first = threading.Event()
    few.put([lambda: assert_released(first), lambda: ran.append(1)])
    few.close()
    first.set()
    few.join()
    assert ran == [1]


def test_the_end_does_not_wait_for_a_stuck_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmsdk.rpc.http.fewthreads.JOIN_TIMEOUT_S", 0.01)
    few = FewThreads("few", limit=1)
    stuck, release = threading.Event(), threading.Event()

    def job() -> None:
        stuck.set()
        assert_released(release)

    few.put([job])
    assert stuck.wait(DEADLINE_S)
    few.close()
    few.join()
    release.set()


def test_a_pause_is_told_when_jobs_have_run_out() -> None:
    paused = threading.Event()
    order: list[str] = []
    few = FewThreads("few", before_job=lambda: order.append("before"), on_pause=paused.set)
    few.put([lambda: order.append("job")])
    assert paused.wait(DEADLINE_S)
    few.close()
    few.join()
    assert order == ["before", "job"]


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
