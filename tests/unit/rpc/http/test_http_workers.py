"""The threads that run blocking HTTP code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from vmsdk.errors import Closed
from vmsdk.rpc.http.turn import Turn
from vmsdk.rpc.http.workers import Workers
from vmsdk.waiting import waiting

DEADLINE_S = 10.0


def with_workers(use: Callable[[Workers], Awaitable[Any]], limit: int = 4) -> Any:
    async def run() -> Any:
        turn = Turn()
        workers = Workers(asyncio.get_running_loop(), turn, limit=limit)
        try:
            return await asyncio.wait_for(use(workers), DEADLINE_S)
        finally:
            workers.close()
            workers.join()
            turn.close()

    # Not their number: threads of earlier tests may end meanwhile.
    before = set(threading.enumerate())
    result = asyncio.run(run())
    assert set(threading.enumerate()) <= before
    return result


def test_a_result_comes_back_and_so_does_an_exception() -> None:
    async def use(workers: Workers) -> None:
        assert await workers.run(divmod, 7, 3) == (2, 1)
        with pytest.raises(ZeroDivisionError):
            await workers.run(divmod, 7, 0)

    with_workers(use)


def test_jobs_run_beside_each_other_up_to_the_limit() -> None:
    limit = 3
    together = threading.Barrier(limit)

    async def use(workers: Workers) -> None:
        # Each waits for the others: with fewer threads than the limit none would return.
        await asyncio.gather(*(workers.run(together.wait, DEADLINE_S) for _ in range(limit)))

    with_workers(use, limit)


@pytest.mark.parametrize("limit", [1, 2])
def test_a_result_does_not_wait_for_the_next_job_that_waits(limit: int) -> None:
    release = threading.Event()

    def job() -> None:
        with waiting():
            assert release.wait(DEADLINE_S)

    async def use(workers: Workers) -> None:
        short, *long = (asyncio.ensure_future(workers.run(each)) for each in (int, job, job))
        assert await short == 0
        release.set()
        await asyncio.gather(*long)

    with_workers(use, limit)


def test_more_jobs_than_threads_wait_their_turn_and_none_is_lost() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def job(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1
        return number

    async def use(workers: Workers) -> list[int]:
        return list(await asyncio.gather(*(workers.run(job, number) for number in range(2_000))))

    assert with_workers(use, 3) == list(range(2_000))
    assert most <= 3


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration()])
def test_what_no_future_may_hold_becomes_an_ordinary_error(error: BaseException) -> None:
    def job() -> None:
        raise error

    async def use(workers: Workers) -> None:
        with pytest.raises(RuntimeError, match="worker thread"):
            await workers.run(job)
        assert await workers.run(abs, -1) == 1

    with_workers(use)


def test_a_cancelled_wait_leaves_the_others_alone() -> None:
    release = threading.Event()

    async def use(workers: Workers) -> None:
        started = threading.Event()

        def job() -> None:
            started.set()
            release.wait(DEADLINE_S)

        running = asyncio.ensure_future(workers.run(job))
        queued = asyncio.ensure_future(workers.run(pytest.fail, "a cancelled job was run"))
        while not started.is_set():
            await asyncio.sleep(0)
        running.cancel()
        queued.cancel()
        await asyncio.wait([running, queued])
        release.set()
        assert await workers.run(abs, -1) == 1

    with_workers(use, 1)


def test_after_close_nothing_more_is_taken() -> None:
    async def use(workers: Workers) -> None:
        await workers.run(abs, -1)
        workers.close()
        with pytest.raises(Closed):
            await workers.run(abs, -1)

    with_workers(use)
