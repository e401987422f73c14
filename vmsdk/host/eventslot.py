"""The engine's queue of VM events, which has room for one."""

from __future__ import annotations

import threading


class EventSlot:
    """Holds the one event that the engine has not picked up yet."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._event: int | None = None
        self._closed = False

    def offer(self, event: int) -> bool:
        """Put *event* in, if there is room; says whether there was."""
        with self._changed:
            if self._event is not None:
                return False
            self._event = event
            self._changed.notify_all()
            return True

    def drop(self) -> None:
        """Forget an event that was not picked up."""
        with self._changed:
            self._event = None

    def take(self, timeout_s: float | None = None) -> int | None:
        """The event, waiting for it; None after *timeout_s* or after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._event is not None or self._closed, timeout_s)
            event, self._event = self._event, None
            return event

    def close(self) -> None:
        """Let every `take` return, now and later."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
