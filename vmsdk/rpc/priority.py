"""The chain comes first: what keeps HTTP from delaying the engine's calls.

Python runs one thread at a time, and two things decide how long an engine call waits for its turn while
HTTP is under load (docs/http.md has the measurements; `vmsdk.rpc.http.turn` keeps HTTP's threads from being many):

* A thread that waits for its turn only insists on it after the *switch interval*, 5 ms by default, without a
  change. HTTP lets go more often than that, but takes over again before a waiting thread is awake: the
  wait starts anew each time. An interval shorter than the pieces in which HTTP works ends this. It costs
  each call a third more time, though, so it is only set while a thread of HTTP works, or the event loop
  has 1,000 pieces of work a second.
* A call takes four such turns before it is answered, and more if it calls the node. So HTTP begins nothing
  new from the moment when the call arrives until it has been answered, but for a moment only.

With fewer processors than busy threads the system decides too, and an event loop under load takes breaks for it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
# Steps of an event loop follow each other for so long between two such waits.
STEPS_S = 0.000_2
# A system with nothing but busy processors leaves one to the event loop until its next timer tick, 4 ms with
# Linux's usual 250 Hz, while what brings an engine call waits for that processor. So the loop lets go by itself.
BREAK_EVERY_S = 0.000_5
BREAK_S = 50e-6
# A call that has arrived may be cancelled before it begins, and nobody tells.
ANNOUNCED_S = 0.001


class EnginePriority:
    """Entered around each engine call; HTTP asks `give_way` before each piece of work. Any thread may use it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """*clock* gives seconds."""
        self._clock = clock
        self._changed = threading.Condition(threading.Lock())
        self._calls = 0
        self._announced_until_s = 0.0
        self._usual_interval_s: float | None = None
        self._at_work = 0
        self._paused_s = 0.0
        self._under_load = False
        self._last_piece_s = 0.0
        self._pieces = 0
        self._counted_from_s = 0.0

    # The engine ------------------------------------------------------------------------------------

    def announce(self) -> None:
        """An engine call has arrived, and will enter soon."""
        self._announced_until_s = self._clock() + ANNOUNCED_S

    def __enter__(self) -> None:
        with self._changed:
            self._calls += 1
            self._announced_until_s = 0.0
        if self._under_load and self._clock() - self._last_piece_s > CALM_S:
            self._set_load(False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._calls -= 1
            if not self._calls:
                self._changed.notify_all()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Goes around what an engine call waits for HTTP to do: meanwhile HTTP need not give way to that call."""
        self.__exit__(None, None, None)
        try:
            yield
        finally:
            self.__enter__()

    # HTTP ------------------------------------------------------------------------------------------

    def give_way(self) -> None:
        """Block while an engine call runs, for `LONGEST_WAIT_S` at most."""
        self._note_piece()
        if self._is_engines_turn:
            self._wait()

    def give_way_between_steps(self) -> None:
        """As `give_way`, for an event loop, whose steps are many and small: not before each of them."""
        ran_s = self._clock() - self._paused_s
        if self._is_engines_turn:
            if ran_s > STEPS_S:
                self._wait()
                self._paused_s = self._clock()
        elif self._under_load and ran_s > BREAK_EVERY_S:
            time.sleep(BREAK_S)
            self._paused_s = self._clock()

    def begin_work(self) -> None:
        """A thread of HTTP begins to work."""
        with self._changed:
            self._at_work += 1
            self._adapt()

    def end_work(self) -> None:
        """A thread of HTTP has ended its work, or waits."""
        with self._changed:
            self._at_work -= 1
            self._adapt()

    def calm_down(self) -> None:
        """HTTP has ended."""
        self._set_load(False)

    @property
    def _is_engines_turn(self) -> bool:
        return self._calls > 0 or (self._announced_until_s > 0.0 and self._clock() < self._announced_until_s)

    def _wait(self) -> None:
        with self._changed:
            if self._is_engines_turn:
                self._changed.wait(LONGEST_WAIT_S)

    def _note_piece(self) -> None:
        # Without a lock: two threads that come at once may miscount by one.
        self._last_piece_s = self._clock()
        self._pieces += 1
        if self._pieces < LOAD_PIECES:
            return
        span_s, self._counted_from_s = self._last_piece_s - self._counted_from_s, self._last_piece_s
        self._pieces = 0
        is_load = span_s <= LOAD_SPAN_S
        if is_load is not self._under_load:
            self._set_load(is_load)

    def _set_load(self, under_load: bool) -> None:
        with self._changed:
            self._under_load = under_load
            self._adapt()

    def _adapt(self) -> None:
        """With the lock held: set the switch interval that is right now."""
        if self._under_load or self._at_work:
            if self._usual_interval_s is None:
                self._usual_interval_s = sys.getswitchinterval()
                sys.setswitchinterval(SWITCH_INTERVAL_S)
        elif self._usual_interval_s is not None:
            sys.setswitchinterval(self._usual_interval_s)
            self._usual_interval_s = None
