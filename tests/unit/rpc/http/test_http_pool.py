"""The threads that run blocking code for HTTP."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from vmsdk.errors import Closed
from vmsdk.rpc import priority
from vmsdk.rpc.http import pool as pools
from vmsdk.rpc.http.capacity import Full
from vmsdk.rpc.http.pool import Pool
from vmsdk.rpc.priority import EnginePriority

DEADLINE_S = 60.0


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    # At the end of each test, the threads have ended, however busy the machine is.
    monkeypatch.setattr(pools, "JOIN_TIMEOUT_S", DEADLINE_S)


def with_pool(use: Callable[[Pool], Awaitable[Any]], clock: Callable[[], float] = time.monotonic) -> Any:
    async def run() -> Any:
        pool = Pool(EnginePriority(), clock)
        try:
            return await asyncio.wait_for(use(pool), DEADLINE_S)
        finally:
            pool.close()

    # Not their number: threads of earlier tests may end meanwhile.
    before = set(threading.enumerate())
    result = asyncio.run(run())
    assert set(threading.enumerate()) <= before
    return result


class Job:
    """A job that is at work until it is released."""

    def __init__(self, around: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        self.began = threading.Event()
        self.release = threading.Event()
        self._around = around

    def __call__(self) -> None:
        with self._around():
            self.began.set()
            assert self.release.wait(DEADLINE_S)

    async def begin(self, pool: Pool) -> asyncio.Future[None]:
        """Queue it, and wait until it has begun."""
        running = asyncio.ensure_future(pool.run(self))
        assert await asyncio.to_thread(self.began.wait, DEADLINE_S)
        return running


def test_a_result_comes_back_and_so_does_an_exception() -> None:
    async def use(pool: Pool) -> None:
        assert await pool.run(divmod, 7, 3) == (2, 1)
        with pytest.raises(ZeroDivisionError):
            await pool.run(divmod, 7, 0)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await pool.run(next, iter(()))

    with_pool(use)


def test_jobs_that_do_not_wait_run_in_two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "HELD_AFTER_S", DEADLINE_S)
    seen = set()

    def job(number: int) -> int:
        seen.add(threading.current_thread())
        return number

    async def use(pool: Pool) -> list[int]:
        return list(await asyncio.gather(*(pool.run(job, number) for number in range(2_000))))

    assert with_pool(use) == list(range(2_000))
    assert len(seen) <= pools.THREADS


def test_jobs_that_wait_are_replaced_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "MAX_THREADS", 5)

    async def use(pool: Pool) -> None:
        jobs = [Job() for _ in range(5)]
        running = [await job.begin(pool) for job in jobs]
        more = Job()
        running.append(asyncio.ensure_future(pool.run(more)))
        assert not await asyncio.to_thread(more.began.wait, 10 * pools.HELD_AFTER_S)
        jobs[0].release.set()
        assert await asyncio.to_thread(more.began.wait, DEADLINE_S)
        for job in (*jobs, more):
            job.release.set()
        await asyncio.gather(*running)

    with_pool(use)


def test_threads_that_are_too_many_end() -> None:
    now_s = 1_000.0

    async def use(pool: Pool) -> None:
        nonlocal now_s
        jobs, running = [Job() for _ in range(6)], []
        for job in jobs:
            running.append(await job.begin(pool))
            now_s += 2 * pools.HELD_AFTER_S
        for job, result in zip(jobs, running, strict=True):
            job.release.set()
            await result
        while len(pool._threads) > pools.THREADS:
            await asyncio.sleep(0)
        assert await pool.run(abs, -1) == 1

    with_pool(use, lambda: now_s)


def test_a_thread_that_waits_for_a_client_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "MAX_THREADS", 2)
    monkeypatch.setattr(pools, "MAX_WAITING", 5)

    async def use(pool: Pool) -> None:
        jobs = [Job(pool.waiting) for _ in range(5)]
        running = [await job.begin(pool) for job in jobs]
        assert await pool.run(abs, -1) == 1
        with pytest.raises(Full, match="too many slow clients"):
            await pool.run(Job(pool.waiting))
        for job in jobs:
            job.release.set()
        await asyncio.gather(*running)

    with_pool(use)


def test_a_system_without_another_thread_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(pool: Pool) -> None:
        refusals = [RuntimeError("can't start new thread")] * 2
        start = pools._Thread.start

        def start_or_refuse(thread: Any) -> None:
            if refusals:
                raise refusals.pop()
            start(thread)

        monkeypatch.setattr(pools._Thread, "start", start_or_refuse)
        jobs = [Job() for _ in range(3)]
        running = [await job.begin(pool) for job in jobs]
        assert refusals == []
        for job in jobs:
            job.release.set()
        await asyncio.gather(*running)

    with_pool(use)


def test_a_cancelled_job_in_the_queue_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "MAX_THREADS", 2)

    async def use(pool: Pool) -> None:
        jobs = [Job(), Job()]
        running = [await job.begin(pool) for job in jobs]
        queued = asyncio.ensure_future(pool.run(pytest.fail, "a cancelled job was run"))
        await asyncio.sleep(0)
        for each in (queued, running[0]):
            each.cancel()
            await asyncio.wait([each])
        for job in jobs:
            job.release.set()
        await running[1]
        assert await pool.run(abs, -1) == 1

    with_pool(use)


def test_after_the_end_nothing_more_is_taken() -> None:
    async def use(pool: Pool) -> None:
        pool.close()
        with pytest.raises(Closed):
            await pool.run(abs, -1)

    with_pool(use)


def test_the_jobs_in_the_queue_are_done_before_the_end() -> None:
    async def use(pool: Pool) -> list[int]:
        running = [asyncio.ensure_future(pool.run(abs, -number)) for number in range(100)]
        await asyncio.sleep(0)
        pool.close()
        return list(await asyncio.gather(*running))

    assert with_pool(use) == list(range(100))


def test_a_job_begins_when_the_engine_is_done_and_shortens_the_switch_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(priority, "LONGEST_WAIT_S", DEADLINE_S)
    usual = sys.getswitchinterval()

    async def use(pool: Pool) -> None:
        job = Job()
        with pool._priority:
            running = asyncio.ensure_future(pool.run(job))
            assert not await asyncio.to_thread(job.began.wait, 0.05)
        assert await asyncio.to_thread(job.began.wait, DEADLINE_S)
        assert sys.getswitchinterval() == pytest.approx(priority.SWITCH_INTERVAL_S)
        job.release.set()
        await running

    with_pool(use)
    assert sys.getswitchinterval() == pytest.approx(usual)
