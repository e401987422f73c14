"""A thread that runs an event loop."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from vmsdk.rpc.http.politeloop import PoliteEventLoop

ResultT = TypeVar("ResultT")


class LoopThread:
    """Runs an event loop in a daemon thread, from its construction until `stop`."""

    def __init__(self, name: str, give_way: Callable[[], None]) -> None:
        """*give_way* is called between the steps of the loop's tasks, and may block for a moment."""
        self.loop = PoliteEventLoop(give_way)
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run *work* on the loop and return its result. From another thread only."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def stop(self) -> None:
        """Cancel what still runs, end the loop and its thread."""
        self.loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        _never_push_others_away()
        try:
            # Not run_forever: anyio, below Starlette, ties the life of its threads to the task that
            # run_until_complete runs, and without one makes a new thread for each request.
            self.loop.run_until_complete(self._stopping.wait())
            self.loop.run_until_complete(self._cancel_all())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()

    @staticmethod
    async def _cancel_all() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)


def _never_push_others_away() -> None:
    """When this thread wakes, it takes no processor from a thread that runs; nor do the threads that it starts."""
    if sys.platform == "linux":
        with suppress(OSError):  # Some containers forbid it.
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
