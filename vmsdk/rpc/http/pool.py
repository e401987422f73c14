"""The thread pool that runs blocking code for HTTP."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any

from vmsdk.errors import Closed
from vmsdk.rpc.http.capacity import Full
from vmsdk.rpc.priority import EnginePriority

THREADS = 2
"""Threads free for the next job. More would delay the engine."""
MAX_THREADS = 16
"""Threads at a job, however long it takes. Further jobs wait in the queue."""
MAX_WAITING = 100
"""Threads that wait for a slow client, in addition."""
HELD_AFTER_S = 0.005
"""A thread that has been busy with one job for this long is not free: the next job gets another."""
JOIN_TIMEOUT_S = 1.0

_UNWATCHED: AbstractContextManager[object] = nullcontext()


class Pool:
    """Two daemon threads and a queue. A thread whose job takes long is replaced until the job ends.

    The threads of a `ThreadPoolExecutor` would keep the process from ending while a job is stuck.
    """

    def __init__(
        self,
        priority: EnginePriority,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._priority = priority
        self._clock = clock
        self._jobs: SimpleQueue[tuple[Callable[[], None], AbstractContextManager[object]] | None]
        self._jobs = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: tuple[_Thread, ...] = ()
        self._is_watched = False
        self._is_closed = False
        for _ in range(THREADS):
            self._start_thread()

    async def run(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        watched: AbstractContextManager[object] = _UNWATCHED,
    ) -> Any:
        """Call *function* in a thread; on the loop only. Raises `Closed`.

        Cancelling it does not stop a function that already runs. *watched* is entered while it
        runs, except while it is `waiting`.
        """
        if self._is_closed:
            raise Closed("the HTTP servers are closed")
        future: Future[Any] = Future()
        self._jobs.put((partial(_run, future, partial(copy_context().run, function, *arguments)), watched))
        if not self._is_watched:
            self._is_watched = True
            asyncio.get_running_loop().call_later(HELD_AFTER_S, self._grow)
        return await asyncio.wrap_future(future)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Enter it in a job around what waits for a client. Others get a thread. Raises `Full`."""
        thread = threading.current_thread()
        if not isinstance(thread, _Thread):
            yield
            return
        with self._lock:
            if sum(each.waits for each in self._threads) >= MAX_WAITING:
                raise Full("slow clients", MAX_WAITING)
            thread.waits = True
        thread.watched.__exit__(None, None, None)
        try:
            yield
        finally:
            thread.watched.__enter__()
            thread.waits = False

    def close(self) -> None:
        """Let the threads end when the queue is empty. Leaves a stuck one behind after a second."""
        with self._lock:
            self._is_closed = True
        self._jobs.put(None)
        deadline_s = time.monotonic() + JOIN_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))

    def _grow(self) -> None:
        """Add a thread if a job has waited too long for one, and look again while any waits."""
        self._is_watched = not (self._jobs.empty() or self._is_closed)
        if not self._is_watched:
            return
        asyncio.get_running_loop().call_later(HELD_AFTER_S, self._grow)
        with self._lock:
            counted = sum(not each.waits for each in self._threads)
            if self._count_free(self._threads) < THREADS and counted < MAX_THREADS and not self._is_closed:
                with suppress(RuntimeError):  # The system has no thread now: try again.
                    self._start_thread()

    def _start_thread(self) -> None:
        thread = _Thread(self)
        thread.start()
        self._threads = (*self._threads, thread)

    def work(self, thread: _Thread) -> None:
        """Do jobs, in *thread*."""
        while (taken := self._jobs.get()) is not None:
            job, thread.watched = taken
            thread.began_s = self._clock()
            with self._priority.http, thread.watched:
                job()
            del taken, job  # Or what it holds would live until the next one.
            thread.began_s = None
            if self._retire(thread):
                return
        self._jobs.put(None)  # For the next thread.

    def _retire(self, thread: _Thread) -> bool:
        """Whether *thread* is one too many, and ends."""
        if len(self._threads) <= THREADS:
            return False
        with self._lock:
            others = tuple(each for each in self._threads if each is not thread)
            if self._count_free(others) < THREADS:
                return False
            self._threads = others
        return True

    def _count_free(self, threads: tuple[_Thread, ...]) -> int:
        """How many are idle or have just begun a job."""
        held_s = self._clock() - HELD_AFTER_S
        return sum(not each.waits and (each.began_s is None or each.began_s > held_s) for each in threads)


class _Thread(threading.Thread):
    def __init__(self, pool: Pool) -> None:
        super().__init__(target=pool.work, args=(self,), name="vmsdk-http-worker", daemon=True)
        self.began_s: float | None = None  # None while it has no job.
        self.waits = False  # For a client.
        self.watched = _UNWATCHED


def _run(future: Future[Any], function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except StopIteration as error:  # A future of asyncio can't hold it.
        future.set_exception(RuntimeError(f"{error!r} was raised in a worker thread"))
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
        future.set_exception(error)
    else:
        future.set_result(result)
