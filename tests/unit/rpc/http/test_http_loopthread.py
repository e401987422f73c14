"""The thread of the event loop, which is polite."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import sys
import threading
from collections.abc import Iterator

import pytest

from vmsdk.rpc.http.loopthread import LoopBlocked, LoopThread

STEPS = 20
DEADLINE_S = 10.0


class Asked:
    """Counts how often the loop has given way."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def thread(asked: Asked) -> Iterator[LoopThread]:
    thread = LoopThread("loop", asked, logging.getLogger("chain"))
    yield thread
    if not thread.loop.is_closed():
        thread.finish(asyncio.sleep(0), DEADLINE_S)
    assert not [each for each in threading.enumerate() if each.name == "loop"]


def test_it_gives_way_before_each_step_of_a_task(thread: LoopThread, asked: Asked) -> None:
    async def steps() -> list[int]:
        seen = []
        for _ in range(STEPS):
            await asyncio.sleep(0)
            seen.append(asked.times)
        return seen

    seen = thread.run(steps(), DEADLINE_S)
    assert [later - sooner for sooner, later in itertools.pairwise(seen)] == [1] * (STEPS - 1)


def test_what_a_step_raises_is_the_tasks_own(thread: LoopThread) -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        thread.run(fails(), DEADLINE_S)
    assert thread.run(asyncio.sleep(0, "alive"), DEADLINE_S) == "alive"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_task_of_its_own_that_exits_does_not_end_it(
    thread: LoopThread, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def exits() -> None:
        raise error

    async def starts_it() -> asyncio.Task[None]:
        return asyncio.create_task(exits())

    task = thread.run(starts_it(), DEADLINE_S)
    assert thread.run(asyncio.sleep(0, "alive"), DEADLINE_S) == "alive"
    assert task.exception() is error
    [record] = caplog.records
    assert record.getMessage() == "a task of an HTTP app tried to end the process"


def test_a_task_that_blocks_it_is_not_waited_for_for_ever(thread: LoopThread) -> None:
    release = threading.Event()

    async def blocks() -> None:
        assert release.wait(DEADLINE_S)

    with pytest.raises(LoopBlocked, match="an app blocks it"):
        thread.run(blocks(), 0.01)
    with pytest.raises(LoopBlocked):
        thread.finish(asyncio.sleep(0), 0.01)
    release.set()
    thread._thread.join(DEADLINE_S)
    assert thread.loop.is_closed()


def test_a_step_that_was_cancelled_is_not_made(thread: LoopThread) -> None:
    async def cancels() -> list[str]:
        made: list[str] = []
        loop = asyncio.get_running_loop()
        loop.call_soon(made.append, "one")
        loop.call_soon(made.append, "two").cancel()
        await asyncio.sleep(0)
        return made

    assert thread.run(cancels(), DEADLINE_S) == ["one"]


@pytest.mark.skipif(sys.platform != "linux", reason="a policy of Linux")
def test_neither_it_nor_a_thread_that_it_starts_pushes_others_off_a_processor(thread: LoopThread) -> None:
    def policy() -> int:
        return os.sched_getscheduler(0)

    async def policies() -> tuple[int, int]:
        return policy(), await asyncio.get_running_loop().run_in_executor(None, policy)

    assert thread.run(policies(), DEADLINE_S) == (os.SCHED_BATCH, os.SCHED_BATCH)
    assert policy() == os.SCHED_OTHER
