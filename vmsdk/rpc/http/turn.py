"""Whose turn it is: of all threads that work for HTTP, one goes at a time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

# A thread that has been at one piece of work for so long and hardly used the processor waits for something
# without having said so: another gets the turn.
STUCK_S = 0.01
# So much of the time is hardly. A thread that computes, and waits for Python's own lock besides, has more.
_IDLE_SHARE = 0.1
# One that computes keeps the turn for longer, since two that compute are no faster than one. But it may not
# stop all others.
LONG_S = 0.1


class Runner(Protocol):
    """A thread that takes turns. It may come to work without one, and then says when that ends."""

    gate: threading.Lock
    """Held while the thread sleeps; released when the turn is its own."""

    def cpu_s(self) -> float | None:
        """How long it has used a processor; None where the system does not tell."""

    def lost_turn(self) -> None:
        """The turn was taken from it, in the middle of its work. Called with the turn's lock held."""


class Turn:
    """Goes from thread to thread, in the order in which they ask for it.

    Python runs one thread at a time, and gives a thread that wants to run no precedence. So when many
    threads of HTTP want to, the engine waits for each of them, and all spend their time on changing places. Threads
    that wait for this turn want nothing of Python.
    """

    def __init__(
        self, *, on_begin: Callable[[], None] = lambda: None, on_end: Callable[[], None] = lambda: None
    ) -> None:
        """*on_begin* is called when the turn is taken up, *on_end* when it is laid down, and so for work without it."""
        self._on_begin = on_begin
        self._on_end = on_end
        self.lock = threading.Lock()
        """Guards the turn, and what its threads share. Never held for long."""
        self._holder: Runner | None = None
        self._line: deque[Runner] = deque()
        self._pieces = 0
        """How many pieces of work have begun."""
        self._watched = threading.Event()
        self._is_watched = False
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None

    def close(self) -> None:
        """No more is taken from a thread that is stuck."""
        self._closed.set()
        self._watched.set()
        if self._watcher is not None:
            self._watcher.join()

    # With the lock held ----------------------------------------------------------------------------

    def is_held_by(self, runner: Runner) -> bool:
        return self._holder is runner

    @property
    def is_asked_for(self) -> bool:
        """Whether a thread waits for it."""
        return bool(self._line)

    def ask(self, runner: Runner) -> None:
        """Release the gate of *runner* when it is its turn."""
        if self._holder is None:
            self._on_begin()
            self._give_to(runner)
            return
        self._line.append(runner)
        self.watch()

    def pass_on(self) -> None:
        """The holder lets go."""
        self._holder = None
        if self._line:
            self._give_to(self._line.popleft())
        else:
            self._on_end()

    def go_without(self, runner: Runner) -> None:
        """*runner* waits no longer, and works without the turn."""
        self._line.remove(runner)
        self._on_begin()

    def end_without(self) -> None:
        """A thread that worked without the turn does so no more."""
        self._on_end()

    def begin_piece(self) -> None:
        """The holder begins another piece of work."""
        self._pieces += 1

    def watch(self) -> None:
        """Somebody waits for the holder to let go: see to it that it does not take for ever."""
        if self._is_watched:
            return
        if self._watcher is None:
            watcher = threading.Thread(target=self._watch, name="vmsdk-http-turn", daemon=True)
            try:
                watcher.start()
            except RuntimeError:
                return  # The system has no more threads now: the next one who asks tries again.
            self._watcher = watcher
        self._is_watched = True
        self._watched.set()

    def _give_to(self, runner: Runner) -> None:
        self._holder = runner
        self.begin_piece()
        runner.gate.release()

    # In a thread of its own --------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._closed.is_set():
            self._watched.wait()
            self._watched.clear()
            self._is_watched = False
            self._watch_piece()
            # Who stands in line has asked for this once, and does not ask again.
            while self._line and not self._closed.is_set():
                self._watch_piece()

    def _watch_piece(self) -> None:
        """Return when the piece of work that is under way has ended, or has cost its thread the turn."""
        with self.lock:
            runner, piece = self._holder, self._pieces
            if runner is None:
                return
            used_s = runner.cpu_s()
        begun_s = looked_s = time.monotonic()
        while not self._closed.wait(STUCK_S):
            with self.lock:
                if self._holder is not runner or self._pieces != piece:
                    return
                # Not before: a thread that has ended has no clock.
                now_s, cpu_s = time.monotonic(), runner.cpu_s()
                computes = (
                    cpu_s is not None
                    and used_s is not None
                    and cpu_s - used_s > _IDLE_SHARE * (now_s - looked_s)
                )
                if not computes or now_s - begun_s > LONG_S:
                    self._on_begin()
                    self.pass_on()
                    runner.lost_turn()
                    return
                looked_s, used_s = now_s, cpu_s
