"""The threads that run an author's blocking HTTP code, so that it never blocks the event loop."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from vmsdk.errors import Closed

MAX_WORKERS = 16
"""How many blocking requests run at once; more of them wait. A few are enough: Python runs one thread at
a time, and what the others wait for is the node's database or the engine's lock."""

JOIN_TIMEOUT_S = 1.0

_Outcome = tuple["asyncio.Future[Any]", Any, "BaseException | None"]
_Job = tuple["asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]


class Workers:
    """A bounded set of daemon threads for one event loop, started as they are needed.

    An executor of the standard library would keep the process from ending while a thread is stuck, and
    wakes the loop once a result; here results that are ready together come together.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        limit: int = MAX_WORKERS,
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        """*give_way* is called in a thread before each piece of work."""
        self._loop = loop
        self._give_way = give_way
        self._limit = limit
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._outcomes: list[_Outcome] = []
        self._outcomes_lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._unfinished = 0
        self._closed = False

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The result of calling *function* in one of the threads. On the loop only. Raises `Closed`.

        A cancelled wait does not stop a function that already runs.
        """
        if self._closed:
            raise Closed("the HTTP servers are closed")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._unfinished += 1
        if self._unfinished > len(self._threads) < self._limit:
            self._start_thread()
        self._jobs.put((future, function, arguments))
        return await future

    def close(self) -> None:
        """Let the threads end after the work they have. On the loop only."""
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)

    def join(self) -> None:
        """Wait for the threads to end, `JOIN_TIMEOUT_S` at most: one may be stuck in an author's code."""
        deadline = time.monotonic() + JOIN_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=f"vmsdk-http-{len(self._threads) + 1}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function, arguments = job
            del job
            outcome: _Outcome
            if future.cancelled():
                outcome = (future, None, None)
            else:
                self._give_way()
                try:
                    outcome = (future, function(*arguments), None)
                except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
                    outcome = (future, None, error)
            del future, function, arguments
            self._tell(outcome)
            del outcome

    def _tell(self, outcome: _Outcome) -> None:
        with self._outcomes_lock:
            self._outcomes.append(outcome)
            # Only the first one wakes the loop, which then takes all that is there.
            if len(self._outcomes) > 1:
                return
        try:
            self._loop.call_soon_threadsafe(self._take_outcomes)
        except RuntimeError:
            pass  # The loop is closed: nobody waits for this result.

    def _take_outcomes(self) -> None:
        with self._outcomes_lock:
            outcomes, self._outcomes = self._outcomes, []
        self._unfinished -= len(outcomes)
        for future, result, error in outcomes:
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            elif isinstance(error, Exception) and not isinstance(error, StopIteration):
                future.set_exception(error)
            else:
                future.set_exception(RuntimeError(f"{error!r} was raised in a worker thread"))
