"""A deadline that can be moved while something waits under it, as Go's connections have them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# No event loop takes a timer further away than this.
_FAR_AWAY_S = 100 * 365 * 24 * 3600.0


class DeadlinePassed(Exception):
    """The deadline came first."""


class Deadline:
    """None at first. Once passed it stays so until it is set anew."""

    def __init__(self) -> None:
        self._passed = False
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: set[asyncio.Task[Any]] = set()

    def has_passed(self) -> bool:
        return self._passed

    def set_after(self, seconds: float | None) -> None:
        """Let it pass in so many *seconds*; never, if None. Zero or less: now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._passed = False
        if seconds is None or seconds > _FAR_AWAY_S:
            return
        if seconds <= 0:
            self._pass()
        else:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._pass)

    def set_at(self, unix_s: float | None) -> None:
        """Let it pass at this time of the system's clock; never, if None."""
        self.set_after(None if unix_s is None else unix_s - time.time())

    async def guard(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of *work*, which is cancelled when the deadline passes: then raises `DeadlinePassed`."""
        if self.has_passed():
            work.close()
            raise DeadlinePassed
        task = asyncio.ensure_future(work)
        self._waiting.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if self.has_passed() and task.cancelled():
                raise DeadlinePassed from None
            raise
        finally:
            self._waiting.discard(task)

    def _pass(self) -> None:
        self._passed = True
        self._timer = None
        for task in self._waiting:
            task.cancel()
