"""The chain comes first: what keeps HTTP from delaying the engine's calls.

Python runs one thread at a time, and two things decide how long an engine call waits for its turn while
HTTP is under load (docs/http.md has the measurements):

* A thread that waits for its turn only insists on it after the *switch interval*, 5 ms by default, without a
  change. HTTP lets go more often than that, but takes over again before a waiting thread is awake: the
  wait starts anew each time. An interval shorter than the pieces in which HTTP works ends this. It costs
  each call a third more time, though, so it is for load only: 1,000 pieces a second.
* While an engine call runs, it waits for its turn again after every call of its own to the node. So HTTP
  begins nothing new meanwhile, for a moment.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

# HTTP works in pieces of 50 to 150 µs between two system calls.
SWITCH_INTERVAL_S = 20e-6

# HTTP is under load when so many pieces come within so long. Not gap by gap: to give way makes gaps.
LOAD_PIECES = 32
LOAD_SPAN_S = 0.032
# It is no longer when none has come for so long.
CALM_S = 0.02

# An engine call may take long, and HTTP must not stand still as long: between two such waits it does one
# piece of work.
LONGEST_WAIT_S = 0.001


class EnginePriority:
    """Entered around each engine call; HTTP asks `give_way` before each piece of work. Any thread may use it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """*clock* gives seconds."""
        self._clock = clock
        self._changed = threading.Condition(threading.Lock())
        self._calls = 0
        self._usual_interval_s: float | None = None
        self._last_piece_s = 0.0
        self._pieces = 0
        self._counted_from_s = 0.0

    def __enter__(self) -> None:
        with self._changed:
            self._calls += 1
        if self._usual_interval_s is not None and self._clock() - self._last_piece_s > CALM_S:
            self.calm_down()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._calls -= 1
            if not self._calls:
                self._changed.notify_all()

    def give_way(self) -> None:
        """Block while an engine call runs, for `LONGEST_WAIT_S` at most."""
        self._note_piece()
        if self._calls:
            with self._changed:
                if self._calls:
                    self._changed.wait(LONGEST_WAIT_S)

    def calm_down(self) -> None:
        """HTTP is not under load, or has ended."""
        if self._usual_interval_s is not None:
            sys.setswitchinterval(self._usual_interval_s)
            self._usual_interval_s = None

    def _note_piece(self) -> None:
        # Without a lock: two threads that come at once may miscount by one, or set the interval twice.
        self._last_piece_s = self._clock()
        self._pieces += 1
        if self._pieces < LOAD_PIECES:
            return
        span_s, self._counted_from_s = self._last_piece_s - self._counted_from_s, self._last_piece_s
        self._pieces = 0
        if span_s > LOAD_SPAN_S:
            self.calm_down()
        elif self._usual_interval_s is None:
            usual_s = sys.getswitchinterval()
            sys.setswitchinterval(SWITCH_INTERVAL_S)
            self._usual_interval_s = usual_s
