"""The chain comes first: what keeps HTTP from delaying the engine's calls.

Python runs one thread at a time, and two things decide how long an engine call waits for its turn while
HTTP is under load (docs/http.md has the measurements):

* A thread that waits for its turn only insists on it after the *switch interval*, 5 ms by default, without a
  change. HTTP lets go more often than that, but takes over again before a waiting thread is awake: the
  wait starts anew each time. An interval shorter than the pieces in which HTTP works ends this.
* While an engine call runs, it waits for its turn again after every call of its own to the node. So HTTP
  begins nothing new meanwhile, for a moment.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType

# HTTP works in pieces of 50 to 150 µs between two system calls.
SWITCH_INTERVAL_S = 20e-6

# An engine call may take long, and HTTP must not stand still as long: between two such waits it does one
# piece of work.
LONGEST_WAIT_S = 0.001


class EnginePriority:
    """Entered around each engine call; HTTP asks `give_way` before each piece of work. Any thread may use it."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._calls = 0
        self._usual_interval_s: float | None = None

    def __enter__(self) -> None:
        with self._changed:
            self._calls += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._calls -= 1
            if not self._calls:
                self._changed.notify_all()

    def give_way(self) -> None:
        """Block while an engine call runs, for `LONGEST_WAIT_S` at most."""
        if self._calls:
            with self._changed:
                if self._calls:
                    self._changed.wait(LONGEST_WAIT_S)

    def http_begins(self) -> None:
        """From now on there is HTTP in this process."""
        if self._usual_interval_s is None:
            self._usual_interval_s = sys.getswitchinterval()
            sys.setswitchinterval(SWITCH_INTERVAL_S)

    def http_ends(self) -> None:
        """There is none any more."""
        if self._usual_interval_s is not None:
            sys.setswitchinterval(self._usual_interval_s)
            self._usual_interval_s = None
