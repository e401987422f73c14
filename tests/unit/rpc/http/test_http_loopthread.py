"""The thread of the event loop."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Iterator

import pytest

from vmsdk.rpc.http.loopthread import LoopBlocked, LoopThread
from vmsdk.rpc.priority import SWITCH_INTERVAL_S, EnginePriority, HTTPWork

DEADLINE_S = 60.0


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    thread = LoopThread("loop", logging.getLogger("chain"))
    yield thread
    if not thread.loop.is_closed():
        thread.finish(asyncio.sleep(0), DEADLINE_S)
    assert not [each for each in threading.enumerate() if each.name == "loop"]


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


def test_its_callbacks_give_way_to_the_engine_and_its_waits_are_not_work() -> None:
    engine = EnginePriority()
    usual_s = sys.getswitchinterval()
    rested = threading.Event()
    gave_way: list[None] = []

    class Work(HTTPWork):
        def __enter__(self) -> None:
            super().__enter__()
            gave_way.append(None)

        def __exit__(self, *failure: object) -> None:
            super().__exit__()
            rested.set()

    async def interval_s() -> float:
        rested.clear()
        return sys.getswitchinterval()

    thread = LoopThread("loop", logging.getLogger("chain"), Work(engine))
    for _ in range(3):
        before = len(gave_way)
        assert thread.run(interval_s(), DEADLINE_S) == pytest.approx(SWITCH_INTERVAL_S)
        assert len(gave_way) > before
        assert rested.wait(DEADLINE_S)
    thread.finish(asyncio.sleep(0), DEADLINE_S)
    assert sys.getswitchinterval() == pytest.approx(usual_s)
