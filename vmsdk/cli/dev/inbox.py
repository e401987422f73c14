"""What the main thread of `vmsdk dev` waits for."""

from __future__ import annotations

import select
import signal
import socket
from collections import deque
from types import FrameType, TracebackType
from typing import Generic, TypeVar

from typing_extensions import Self

T = TypeVar("T")

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
# No signal has this number.
_POSTED = b"\0"


class Inbox(Generic[T]):
    """Events from any thread, and from now on the signals that ask to stop, each of which becomes *on_signal*.

    A signal must not be waited for in a lock or a queue: one that comes just before the wait begins does
    not end it. Here the system itself writes it where the main thread reads. Must be made on that thread.
    """

    def __init__(self, on_signal: T) -> None:
        self._on_signal = on_signal
        self._events: deque[T] = deque()
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.setblocking(False)
        self._previous = {number: signal.signal(number, _ignore) for number in _SIGNALS}
        self._previous_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def post(self, event: T) -> None:
        """Put an event in. From any thread; without effect once closed."""
        self._events.append(event)
        try:
            self._writer.send(_POSTED)
        except OSError:
            pass  # Full, so the reader is awake anyway; or closed, so there is none.

    def next(self, timeout_s: float | None = None) -> T | None:
        """The next event; None after *timeout_s*. On the main thread."""
        if not self._events:
            select.select([self._reader], [], [], timeout_s)
            self._receive()
        return self._events.popleft() if self._events else None

    def close(self) -> None:
        """Give the signals back."""
        signal.set_wakeup_fd(self._previous_fd)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()

    def _receive(self) -> None:
        try:
            received = self._reader.recv(4_096)
        except BlockingIOError:
            return
        self._events.extend(self._on_signal for number in received if number in self._previous)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _ignore(number: int, frame: FrameType | None) -> None:
    pass
