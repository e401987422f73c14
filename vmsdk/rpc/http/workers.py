"""The threads that run an author's blocking code for the apps on the event loop, which it must not block."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from vmsdk.errors import Closed
from vmsdk.rpc.http.fewthreads import MAX_THREADS, FewThreads, Job
from vmsdk.rpc.http.turn import Turn

# When jobs come faster than one in this time, they wait as long for company, but no more than so many. A single
# client that calls again when it has its answer is slower than that, so it never waits.
GATHER_S = 0.000_5
GATHER_JOBS = 16

_Outcome = tuple["asyncio.Future[Any]", Any, "BaseException | None"]


class Workers:
    """Runs functions for one event loop. Under load, jobs go over to the threads together, and results come back so."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turn: Turn,
        *,
        limit: int = MAX_THREADS,
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        """*give_way* is called in a thread before each piece of work."""
        self._loop = loop
        self._threads = FewThreads("vmsdk-http", turn, limit=limit, before_job=give_way, on_pause=self._tell)
        self._closed = False
        self._gathered: list[Job] = []
        self._hand_over_at: float | None = None
        """When what is gathered is handed over; None when there is nothing."""
        self._last_job = 0.0
        self._gap_s = 1.0
        """Between two jobs, on average."""
        self._lock = threading.Lock()
        """Guards the outcomes, which the threads leave and the loop takes."""
        self._outcomes: list[_Outcome] = []
        self._told = False

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The result of calling *function* in one of the threads. On the loop only. Raises `Closed`.

        A cancelled wait does not stop a function that already runs.
        """
        if self._closed:
            raise Closed("the HTTP servers are closed")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._gathered.append(partial(self._run, future, function, arguments))
        now = time.monotonic()
        self._gap_s += (min(now - self._last_job, 1.0) - self._gap_s) / 8
        self._last_job = now
        if self._hand_over_at is None:
            self._hand_over_at = now + GATHER_S if self._gap_s < GATHER_S else now
            self._loop.call_soon(self._hand_over)
        return await future

    def close(self) -> None:
        """Let the threads end after the work they have. On the loop only."""
        self._closed = True
        self._threads.put(self._gathered)
        self._gathered = []
        self._threads.close()

    def join(self) -> None:
        """Wait a moment for the threads to end."""
        self._threads.join()

    # On the loop -----------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        assert self._hand_over_at is not None
        if len(self._gathered) < GATHER_JOBS and time.monotonic() < self._hand_over_at and not self._closed:
            self._loop.call_soon(self._hand_over)
            return
        self._hand_over_at = None
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._threads.put(gathered)

    def _take_outcomes(self) -> None:
        with self._lock:
            outcomes, self._outcomes = self._outcomes, []
            self._told = False
        for future, result, error in outcomes:
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            elif isinstance(error, Exception) and not isinstance(error, StopIteration):
                future.set_exception(error)
            else:
                future.set_exception(RuntimeError(f"{error!r} was raised in a worker thread"))

    # In a thread -----------------------------------------------------------------------------------

    def _run(
        self, future: asyncio.Future[Any], function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> None:
        if future.cancelled():
            return
        try:
            outcome: _Outcome = (future, function(*arguments), None)
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            outcome = (future, None, error)
        with self._lock:
            self._outcomes.append(outcome)

    def _tell(self) -> None:
        with self._lock:
            if self._told or not self._outcomes:
                return
            self._told = True
        try:
            self._loop.call_soon_threadsafe(self._take_outcomes)
        except RuntimeError:
            pass  # The loop is closed: nobody waits for these.
