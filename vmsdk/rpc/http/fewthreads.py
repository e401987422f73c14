"""As few threads as will do: another one only works while the first is waiting for something."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from vmsdk.rpc.http.turn import Turn
from vmsdk.waiting import schedule_this_thread

MAX_THREADS = 16
"""How much blocking work is under way at once; more of it waits. A few are enough: Python runs one thread at a
time, and what the others wait for is the node's database or the engine's lock."""

JOIN_TIMEOUT_S = 1.0

# A thread that goes from job to job pauses this often.
PAUSE_S = 0.000_3

# A thread that has waited goes on without the turn when it does not get it within this time: it may hold a lock that
# the one whose turn it is wants.
PATIENCE_S = 0.001

Job = Callable[[], None]


class FewThreads:
    """A bounded set of daemon threads, started as they are needed, of which one works at a time.

    A thread takes one job after the other, until one makes it wait (`vmsdk.waiting`); then the next thread
    takes jobs. Several sets may share a turn.

    Daemons, unlike an executor's of the standard library: those would keep the process from ending while a
    job is stuck.
    """

    def __init__(
        self,
        name: str,
        turn: Turn,
        *,
        limit: int = MAX_THREADS,
        before_job: Callable[[], None] = lambda: None,
        on_pause: Callable[[], None] = lambda: None,
    ) -> None:
        """*before_job* and *on_pause* are called in the threads, the latter also before any wait."""
        self._name = name
        self._turn = turn
        self._limit = limit
        self._before_job = before_job
        self._on_pause = on_pause
        # The turn's lock guards all that follows.
        self._jobs: deque[Job] = deque()
        self._threads: list[_Thread] = []
        self._idle: list[_Thread] = []
        self._ready = 0
        """How many threads have the turn or have asked for it."""
        self._closed = False

    def put(self, jobs: Iterable[Job]) -> None:
        """Have these run, in this order to begin with. A job must not raise."""
        with self._turn.lock:
            self._jobs.extend(jobs)
            self._see_to_jobs()

    def close(self) -> None:
        """Let the threads end after the jobs that there are."""
        with self._turn.lock:
            self._closed = True
            for thread in self._idle:
                thread.gate.release()
            self._idle.clear()

    def join(self, timeout_s: float = JOIN_TIMEOUT_S) -> None:
        """Wait for the threads to end, *timeout_s* seconds at most: one may be stuck in a job."""
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    # With the lock held ------------------------------------------------------------------------------

    def _see_to_jobs(self) -> None:
        """Have a thread take the jobs that there are."""
        if not self._jobs:
            return
        if self._ready:
            self._turn.watch()
        elif self._idle:
            self._get_ready(self._idle.pop())
        elif len(self._threads) < self._limit:
            thread = _Thread(self, f"{self._name}-{len(self._threads) + 1}")
            try:
                thread.start()
            except RuntimeError:
                return  # The system has no more threads now: the jobs wait for one of ours, or for the next job.
            self._threads.append(thread)
            self._get_ready(thread)

    def _get_ready(self, thread: _Thread) -> None:
        self._ready += 1
        self._turn.ask(thread)

    def _let_go(self) -> None:
        """One of these threads has the turn no more."""
        self._ready -= 1
        self._see_to_jobs()

    def _next_job(self, thread: _Thread) -> Job | None:
        """What *thread* does after a job; None if it has to wait at its gate first."""
        if self._turn.is_held_by(thread):
            if self._jobs and self._ready == 1 and not self._turn.is_asked_for:
                return self._take_job()
            self._turn.pass_on()
            self._ready -= 1
        else:
            thread.stop_without_turn()
        if self._jobs and not self._ready:
            self._get_ready(thread)
        elif self._closed:
            thread.gate.release()  # There is nothing to wait for.
        else:
            self._idle.append(thread)
        return None

    def _first_job(self, thread: _Thread) -> Job | None:
        """What *thread* does with the turn that it has just got; None if others have done all there was."""
        if self._jobs and self._turn.is_held_by(thread):
            return self._take_job()
        return self._next_job(thread)

    def _take_job(self) -> Job:
        self._turn.begin_piece()
        job = self._jobs.popleft()
        self._see_to_jobs()
        return job

    # In a thread -------------------------------------------------------------------------------------

    def _work(self, thread: _Thread) -> None:
        """Do jobs until there will be none any more."""
        paused_s = time.monotonic()
        while True:
            thread.gate.acquire()
            with self._turn.lock:
                if self._closed and not thread.is_at_work():
                    return
                job = self._first_job(thread)
            while job is not None:
                if not self._jobs or time.monotonic() - paused_s > PAUSE_S:
                    # Before the last one too: it may take long.
                    self._on_pause()
                    paused_s = time.monotonic()
                self._before_job()
                job()
                del job  # Or what it holds would live until the next one.
                with self._turn.lock:
                    job = self._next_job(thread)
            self._on_pause()


class _Thread(threading.Thread):
    """One of the set."""

    def __init__(self, few: FewThreads, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.gate = threading.Lock()
        self.gate.acquire()
        self._few = few
        self._turn = few._turn
        self._clock: int | None = None
        self._is_without_turn = False
        """Whether it works although it is not its turn."""

    def run(self) -> None:
        schedule_this_thread(self)
        if sys.platform != "darwin" and sys.platform != "win32":
            self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self._few._work(self)

    def cpu_s(self) -> float | None:
        return None if self._clock is None else time.clock_gettime(self._clock)

    # With the lock held ------------------------------------------------------------------------------

    def is_at_work(self) -> bool:
        return self._is_without_turn or self._turn.is_held_by(self)

    def lost_turn(self) -> None:
        self._is_without_turn = True
        self._few._let_go()

    def stop_without_turn(self) -> None:
        """If it works without the turn, it does so no more."""
        if self._is_without_turn:
            self._is_without_turn = False
            self._turn.end_without()

    # In a job ----------------------------------------------------------------------------------------

    def pause(self) -> None:
        self._few._on_pause()
        with self._turn.lock:
            self.stop_without_turn()
            if self._turn.is_held_by(self):
                self._turn.pass_on()
                self._few._let_go()

    def resume(self) -> None:
        with self._turn.lock:
            if self.is_at_work():
                return
            self._few._get_ready(self)
        if self.gate.acquire(timeout=PATIENCE_S):
            return
        with self._turn.lock:
            if not self.is_at_work():
                self._turn.go_without(self)
                self.lost_turn()
                return
        # It has just been this thread's turn after all; it may even have lost it again.
        self.gate.acquire()
