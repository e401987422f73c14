"""As few threads as will do: a second one only wakes while the first is waiting for something."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

MAX_THREADS = 16
"""How much blocking work runs at once; more of it waits. A few are enough: Python runs one thread at a
time, and what the others wait for is the node's database or the engine's lock."""

JOIN_TIMEOUT_S = 1.0

# A job that takes longer has waited for something, so another thread may work meanwhile.
SLOW_JOB_S = 0.000_5

# When jobs wait and none has begun for this long, there is another thread for them. Jobs that come later have one
# sooner; this is for the last ones, and to look more often would cost all others time.
STUCK_S = 0.01

# A thread that goes from job to job pauses this often.
PAUSE_S = 0.000_3

Job = Callable[[], None]


class FewThreads:
    """A bounded set of daemon threads, started as they are needed.

    Python runs one thread at a time, so several that compute only get in each other's way: to change from
    one to another costs more than a short job. So one thread works off what there is. When it takes long
    over a job, which is to say that it waits for something, the next one wakes.

    Daemons, unlike an executor's of the standard library: those would keep the process from ending while a
    job is stuck.
    """

    def __init__(
        self,
        name: str,
        *,
        limit: int = MAX_THREADS,
        before_job: Callable[[], None] = lambda: None,
        on_pause: Callable[[], None] = lambda: None,
    ) -> None:
        """*before_job* and *on_pause* are called in the threads, the latter also whenever jobs have run out."""
        self._name = name
        self._limit = limit
        self._before_job = before_job
        self._on_pause = on_pause
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition(threading.Lock())
        """Guards what follows, and wakes threads that have nothing to do."""
        self._threads: list[threading.Thread] = []
        self._awake = 0
        self._wakes = 0
        """Threads that have been woken and don't know it yet; they count as awake."""
        self._progress = 0.0
        """When the last job began, or a thread was last woken for one."""
        self._needs_watch = False
        self._is_watched = False
        self._closed = False

    def put(self, jobs: Iterable[Job]) -> None:
        """Have these run, in this order to begin with. A job must not raise."""
        self._jobs.extend(jobs)
        with self._changed:
            # A thread that makes progress takes them next.
            if not self._awake or time.monotonic() - self._progress > SLOW_JOB_S:
                self._wake_one()
            if len(self._jobs) > 1 or self._awake > 1:
                self._watch_over()

    def close(self) -> None:
        """Let the threads end after the jobs that there are."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self) -> None:
        """Wait for the threads to end, `JOIN_TIMEOUT_S` at most: one may be stuck in a job."""
        deadline = time.monotonic() + JOIN_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    # With the lock held ------------------------------------------------------------------------------

    def _wake_one(self) -> None:
        """Let another thread work, if there may be one."""
        self._progress = time.monotonic()
        if self._awake < len(self._threads):
            self._wakes += 1
            self._changed.notify()
        elif not self._start():
            return
        else:
            self._wakes += 1
        self._awake += 1

    def _watch_over(self) -> None:
        """Have a thread that rests look after the jobs, which may be stuck behind one that waits."""
        if self._needs_watch:
            return
        self._needs_watch = True
        if self._awake < len(self._threads):
            self._changed.notify()
        else:
            self._start()

    def _start(self) -> bool:
        if len(self._threads) == self._limit:
            return False
        name = f"{self._name}-{len(self._threads) + 1}"
        thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
        return True

    # In a thread -----------------------------------------------------------------------------------

    def _live(self) -> None:
        with self._changed:
            if not self._rest():
                return
        while True:
            self._work()
            with self._changed:
                if self._jobs:
                    continue
                self._awake -= 1
                if not self._rest():
                    return

    def _rest(self) -> bool:
        """With the lock held: wait for something to do; False when there will be nothing any more."""
        while not self._wakes:
            if self._closed and not self._jobs:
                return False
            if self._needs_watch and not self._is_watched:
                self._watch()
            else:
                self._changed.wait()
        self._wakes -= 1
        return True

    def _watch(self) -> None:
        """With the lock held: wait a while; then another thread works if jobs are stuck."""
        self._is_watched = True
        self._changed.wait(STUCK_S)
        self._is_watched = False
        self._needs_watch = False
        if self._jobs:
            if time.monotonic() - self._progress > STUCK_S:
                self._wake_one()
            self._watch_over()

    def _work(self) -> None:
        """Run jobs until none is left."""
        paused = begun = time.monotonic()
        while True:
            try:
                job = self._jobs.popleft()
            except IndexError:
                break
            self._progress = begun
            self._before_job()
            job()
            del job  # Or what it holds would live until the next one.
            begun, previous = time.monotonic(), begun
            if begun - previous > SLOW_JOB_S and self._jobs:
                with self._changed:
                    self._wake_one()
            if begun - paused > PAUSE_S:
                self._on_pause()
                paused = begun
        self._on_pause()
