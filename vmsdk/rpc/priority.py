"""The engine comes first: HTTP gives way to its calls.

Python runs one thread at a time. One that waits for the GIL gets it after the *switch interval*, 5
ms by default, and an engine call waits for it several times. Measure with `python -m benchmarks
http`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SWITCH_INTERVAL_S = 20e-6
"""The GIL switch interval while HTTP works, in pieces of 50 to 150 µs between system calls."""
YIELD_EVERY_S = 0.0005
"""How often HTTP yields the processor. Linux may leave the thread that an engine call has woken in
the queue behind a busy one for 3 ms, a time slice. Yielding before each request instead would cost
a sixth of the requests.
"""
LONGEST_WAIT_S = 0.001
"""An engine call may take long: between two waits of this length, HTTP does one piece of work."""
ANNOUNCED_S = 0.001
"""An engine call that has arrived may be cancelled before it begins, without notice."""


class EnginePriority:
    """Entered around each engine call, as `http` is around each piece of HTTP's work."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """*clock* returns seconds."""
        self._clock = clock
        self._changed = threading.Condition(threading.Lock())
        self._calls = 0
        self._announced_until_s = 0.0
        self.http = HTTPWork(self)

    def announce(self) -> None:
        """Record that an engine call has arrived, and is about to enter."""
        self._announced_until_s = self._clock() + ANNOUNCED_S

    def __enter__(self) -> None:
        with self._changed:
            self._calls += 1
            self._announced_until_s = 0.0

    def __exit__(self, *failure: object) -> None:
        with self._changed:
            self._calls -= 1
            if not self._calls:
                self._changed.notify_all()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """While an engine call waits for HTTP, HTTP need not give way to it."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def give_way(self) -> None:
        """Block while an engine call runs, for `LONGEST_WAIT_S` at most."""
        if self._is_engines_turn():
            with self._changed:
                if self._is_engines_turn():
                    self._changed.wait(LONGEST_WAIT_S)

    def _is_engines_turn(self) -> bool:
        return self._calls > 0 or (self._announced_until_s > 0.0 and self._clock() < self._announced_until_s)


_yield_processor: Callable[[], None] = getattr(os, "sched_yield", lambda: None)


class HTTPWork:
    """Entered around each piece of HTTP's work, which first gives way to the engine, and now and
    then yields the processor.

    During it, waiting threads get the GIL sooner.
    """

    def __init__(self, engine: EnginePriority) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._pieces = 0
        self._yielded_at_s = 0.0
        self._usual_interval_s = 0.0

    def __enter__(self) -> None:
        now_s = time.monotonic()
        if now_s - self._yielded_at_s >= YIELD_EVERY_S:
            self._yielded_at_s = now_s
            _yield_processor()
        self._engine.give_way()
        with self._lock:
            self._pieces += 1
            if self._pieces == 1:
                self._usual_interval_s = sys.getswitchinterval()
                sys.setswitchinterval(SWITCH_INTERVAL_S)

    def __exit__(self, *failure: object) -> None:
        with self._lock:
            self._pieces -= 1
            if not self._pieces:
                sys.setswitchinterval(self._usual_interval_s)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While a piece of work waits for something other than the processor."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()
