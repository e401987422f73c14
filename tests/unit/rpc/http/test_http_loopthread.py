"""The thread of the event loop, which is polite."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading
from collections.abc import Iterator

import pytest

from vmsdk.rpc.http.loopthread import LoopThread

STEPS = 20


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
    thread = LoopThread("loop", asked)
    yield thread
    thread.stop()
    assert not [each for each in threading.enumerate() if each.name == "loop"]


def test_it_gives_way_before_each_step_of_a_task(thread: LoopThread, asked: Asked) -> None:
    async def steps() -> list[int]:
        seen = []
        for _ in range(STEPS):
            await asyncio.sleep(0)
            seen.append(asked.times)
        return seen

    seen = thread.run(steps())
    assert [later - sooner for sooner, later in itertools.pairwise(seen)] == [1] * (STEPS - 1)


def test_what_a_step_raises_is_the_tasks_own(thread: LoopThread) -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        thread.run(fails())
    assert thread.run(asyncio.sleep(0, "alive")) == "alive"


def test_a_step_that_was_cancelled_is_not_made(thread: LoopThread) -> None:
    async def cancels() -> list[str]:
        made: list[str] = []
        loop = asyncio.get_running_loop()
        loop.call_soon(made.append, "one")
        loop.call_soon(made.append, "two").cancel()
        await asyncio.sleep(0)
        return made

    assert thread.run(cancels()) == ["one"]


@pytest.mark.skipif(sys.platform != "linux", reason="a policy of Linux")
def test_neither_it_nor_a_thread_that_it_starts_pushes_others_off_a_processor(thread: LoopThread) -> None:
    def policy() -> int:
        return os.sched_getscheduler(0)

    async def policies() -> tuple[int, int]:
        return policy(), await asyncio.get_running_loop().run_in_executor(None, policy)

    assert thread.run(policies()) == (os.SCHED_BATCH, os.SCHED_BATCH)
    assert policy() == os.SCHED_OTHER
