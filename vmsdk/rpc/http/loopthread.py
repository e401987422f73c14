"""A thread that runs an event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import selectors
import threading
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


class LoopBlocked(Exception):
    """An app blocks the event loop."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(
            f"the event loop of the HTTP apps did not respond within {timeout_s:g} s: an app blocks it. Put "
            "blocking code into a plain function, which runs in a thread, not into an async one"
        )


class _Selector(selectors.DefaultSelector):
    """Enters *around* while the loop runs callbacks, that is between two calls of `select`."""

    def __init__(self, around: tuple[AbstractContextManager[object], ...]) -> None:
        super().__init__()
        self._around = around
        self._is_inside = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._exit()
        ready = super().select(timeout)
        for each in self._around:
            each.__enter__()
        self._is_inside = True
        return ready

    def close(self) -> None:
        self._exit()
        super().close()

    def _exit(self) -> None:
        if self._is_inside:
            self._is_inside = False
            for each in reversed(self._around):
                each.__exit__(None, None, None)


class LoopThread:
    """Runs an event loop in a daemon thread, from construction to `finish`."""

    def __init__(self, name: str, log: logging.Logger, *around: AbstractContextManager[object]) -> None:
        """The loop enters *around* for each run of the callbacks that are ready."""
        self.loop = asyncio.SelectorEventLoop(_Selector(around))
        self._log = log
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, ResultT], timeout_s: float) -> ResultT:
        """Run *work* on the loop and return its result. Call it from another thread.

        Raises `LoopBlocked` if that takes longer than *timeout_s* seconds.
        """
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        if not concurrent.futures.wait([future], timeout_s).done:
            future.cancel()
            raise LoopBlocked(timeout_s)
        return future.result()

    def finish(self, work: Coroutine[Any, Any, None], timeout_s: float) -> None:
        """Run *work*, cancel all remaining tasks, and end the loop and its thread.

        Call it from another thread. Raises `LoopBlocked` if that takes longer than *timeout_s*
        seconds; it then continues in the background.
        """

        async def last() -> None:
            try:
                await work
            finally:
                self._stopping.set()

        future = asyncio.run_coroutine_threadsafe(last(), self.loop)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise LoopBlocked(timeout_s)
        future.result()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            # Not run_forever: anyio (below Starlette) binds its threads to the task of
            # run_until_complete, and without one starts a new thread for each request.
            while not self._stopping.is_set():
                try:
                    self.loop.run_until_complete(self._stopping.wait())
                except (SystemExit, KeyboardInterrupt) as error:
                    # asyncio lets these end the loop, which an app's task must not.
                    self._log.error("a task of an HTTP app tried to end the process", exc_info=error)
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
