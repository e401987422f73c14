"""The threads that run an author's blocking HTTP code, so that it never blocks the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from vmsdk.errors import Closed

MAX_WORKERS = 16
"""How many blocking requests run at once; more of them wait. A few are enough: Python runs one thread at
a time, and what the others wait for is the node's database or the engine's lock."""

JOIN_TIMEOUT_S = 1.0

# A job that takes longer has waited for something, so another thread may work meanwhile.
SLOW_JOB_S = 0.000_5

# After this long without a thread being free, jobs get another one.
STUCK_S = 0.002

# When jobs come faster than one in this time, they wait as long for company, but no more than so many. A single
# client that calls again when it has its answer is slower than that, so it never waits.
GATHER_S = 0.000_5
GATHER_JOBS = 16

# Results are told together, but none is kept back longer than this.
LONGEST_TELLING_S = 0.000_3

_Job = tuple["asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]
_Outcome = tuple["asyncio.Future[Any]", Any, "BaseException | None"]


class Workers:
    """A bounded set of daemon threads for one event loop, started as they are needed.

    To change threads costs more than a short job. So jobs that come in one turn of the loop are handed over
    together, results go back together, and a second thread only wakes when the first one is waiting for
    something. An executor of the standard library does none of it, and would keep the process from
    ending while a thread is stuck.
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
        self._limit = limit
        self._give_way = give_way
        self._jobs: deque[_Job] = deque()
        self._wake = threading.Condition(threading.Lock())
        """Guards what follows, and wakes threads that have nothing to do."""
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._outcomes: list[_Outcome] = []
        self._closed = False
        self._progress = 0.0
        """When the last job began; 0 when a thread has gone idle since."""
        # Of the loop alone:
        self._last_job = 0.0
        self._gap_s = 1.0
        """Between two jobs, on average."""
        self._hand_over_at: float | None = None
        """When the jobs that wait are handed over; None when none are."""
        self._watch: asyncio.TimerHandle | None = None

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The result of calling *function* in one of the threads. On the loop only. Raises `Closed`.

        A cancelled wait does not stop a function that already runs.
        """
        if self._closed:
            raise Closed("the HTTP servers are closed")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.append((future, function, arguments))
        now = time.monotonic()
        self._gap_s += (min(now - self._last_job, 1.0) - self._gap_s) / 8
        self._last_job = now
        if self._hand_over_at is None:
            self._hand_over_at = now + GATHER_S if self._gap_s < GATHER_S else now
            self._loop.call_soon(self._hand_over)
        return await future

    def close(self) -> None:
        """Let the threads end after the work they have. On the loop only."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        if self._watch is not None:
            self._watch.cancel()

    def join(self) -> None:
        """Wait for the threads to end, `JOIN_TIMEOUT_S` at most: one may be stuck in an author's code."""
        deadline = time.monotonic() + JOIN_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    # On the loop -----------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        assert self._hand_over_at is not None
        if 0 < len(self._jobs) < GATHER_JOBS and time.monotonic() < self._hand_over_at:
            self._loop.call_soon(self._hand_over)
            return
        self._hand_over_at = None
        if not self._jobs:
            return  # A thread that was at work has taken them.
        with self._wake:
            # One that makes progress takes these next.
            if self._idle == len(self._threads) or time.monotonic() - self._progress > SLOW_JOB_S:
                self._wake_one()
        if self._watch is None:
            self._watch = self._loop.call_later(STUCK_S, self._look_after)

    def _look_after(self) -> None:
        """Jobs that still wait get another thread: all that are awake must be waiting for something."""
        self._watch = None
        if self._jobs and not self._closed:
            with self._wake:
                self._wake_one()
            self._watch = self._loop.call_later(STUCK_S, self._look_after)

    def _take_outcomes(self) -> None:
        with self._wake:
            outcomes, self._outcomes = self._outcomes, []
        for future, result, error in outcomes:
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            elif isinstance(error, Exception) and not isinstance(error, StopIteration):
                future.set_exception(error)
            else:
                future.set_exception(RuntimeError(f"{error!r} was raised in a worker thread"))

    # With _wake held ----------------------------------------------------------------------------------

    def _wake_one(self) -> None:
        if self._idle:
            self._idle -= 1  # Here, so that the next to ask wakes another one.
            self._wake.notify()
        elif len(self._threads) < self._limit:
            name = f"vmsdk-http-{len(self._threads) + 1}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    # In a thread -----------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            self._work_off()
            with self._wake:
                if self._jobs:
                    continue
                if self._closed:
                    return
                self._idle += 1
                self._progress = 0.0
                self._wake.wait()

    def _work_off(self) -> None:
        """Run jobs until none is left."""
        outcomes: list[_Outcome] = []
        told = begun = time.monotonic()
        while True:
            try:
                job = self._jobs.popleft()
            except IndexError:
                break
            self._progress = begun
            self._give_way()
            outcomes.append(_run(*job))
            del job  # Or its arguments would live until the next one.
            begun, previous = time.monotonic(), begun
            if begun - previous > SLOW_JOB_S and self._jobs:
                with self._wake:
                    self._wake_one()
            if begun - told > LONGEST_TELLING_S:
                self._tell(outcomes)
                outcomes, told = [], begun
        self._tell(outcomes)

    def _tell(self, outcomes: list[_Outcome]) -> None:
        if not outcomes:
            return
        with self._wake:
            self._outcomes += outcomes
            if len(self._outcomes) > len(outcomes):
                return  # The loop has been called already.
        try:
            self._loop.call_soon_threadsafe(self._take_outcomes)
        except RuntimeError:
            pass  # The loop is closed: nobody waits for these.


def _run(future: asyncio.Future[Any], function: Callable[..., Any], arguments: tuple[Any, ...]) -> _Outcome:
    if future.cancelled():
        return future, None, None
    try:
        return future, function(*arguments), None
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
        return future, None, error
