"""A client's TCP connection, with deadlines like those of Go's `net.Conn`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

READ_BYTES = 64 * 1024
_CLOSED = "use of closed network connection"
_NO_ADDRESS = ("", 0)  # The client has already disconnected.


class IOFailed(Exception):
    """A read or write failed. The text is like Go's."""


class DeadlineExceeded(IOFailed):
    """The deadline passed before the read or write was complete."""


class Deadline:
    """A deadline that can be changed while a read or write waits; there is none at first.

    Once passed, it stays passed until it is set again.
    """

    def __init__(self) -> None:
        self._passed = False
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: set[asyncio.Task[Any]] = set()

    def set_after(self, seconds: float | None) -> None:
        """Set the deadline *seconds* from now (zero or less: it has passed); None clears it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._passed = False
        if seconds is not None and seconds <= 0:
            self._pass()
        elif seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._pass)

    def check(self) -> None:
        """Raise `DeadlineExceeded` if the deadline has passed."""
        if self._passed:
            raise DeadlineExceeded("i/o timeout")

    async def guard(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of *work*; at the deadline, cancel it: `DeadlineExceeded`."""
        try:
            self.check()
        except DeadlineExceeded:
            work.close()
            raise
        task = asyncio.ensure_future(work)
        self._waiting.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if self._passed and task.cancelled():
                raise DeadlineExceeded("i/o timeout") from None
            raise
        finally:
            self._waiting.discard(task)

    def _pass(self) -> None:
        self._passed = True
        self._timer = None
        for task in self._waiting:
            task.cancel()


class ClientProtocol(asyncio.StreamReaderProtocol):
    """Reports at once that the client has disconnected, even while nothing reads."""

    on_end: Callable[[], object] | None = None

    def eof_received(self) -> bool:
        super().eof_received()
        self._report_end()
        return True  # The client may still read.

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._report_end()

    def _report_end(self) -> None:
        if self.on_end is not None:
            self.on_end()


class Connection:
    """Reads and writes bytes. Use it on the event loop's thread only."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.local = address_text(writer.get_extra_info("sockname") or _NO_ADDRESS)
        """host:port of the server's end."""
        self.remote = address_text(writer.get_extra_info("peername") or _NO_ADDRESS)
        """host:port of the client."""
        self.read_deadline = Deadline()
        self.write_deadline = Deadline()
        self.has_ended = False
        """Whether the client has stopped sending or disconnected."""
        self._reader = reader
        self._writer = writer
        self._reading = asyncio.Lock()
        self._draining = asyncio.Lock()
        self._unread = b""
        self._is_closed = False
        self._on_end: Callable[[], object] | None = None
        protocol = writer.transport.get_protocol()
        assert isinstance(protocol, ClientProtocol)
        protocol.on_end = self._end

    def on_end(self, call: Callable[[], object] | None) -> None:
        """Set what is called when the client disconnects (at once, if it has); None unsets it."""
        self._on_end = call
        if call is not None and self.has_ended:
            call()

    async def read(self, limit: int) -> bytes:
        """Wait for data and return up to *limit* bytes; empty at the end.

        Raises `DeadlineExceeded`, or `IOFailed` if the connection is broken or closed.
        """
        async with self._reading:
            if self._is_closed:
                raise IOFailed(_CLOSED)
            if limit <= 0:
                return b""
            if not self._unread:
                try:
                    await self.read_deadline.guard(self._receive(limit))
                except OSError:
                    raise IOFailed("read: connection reset by peer") from None
                if self._is_closed:
                    raise IOFailed(_CLOSED)
            data, self._unread = self._unread[:limit], self._unread[limit:]
            return data

    async def _receive(self, limit: int) -> None:
        # Stored, not returned: if the reader is cancelled now, the next one gets the data.
        self._unread = await self._reader.read(limit)

    async def write(self, data: bytes) -> int:
        """Send *data*, waiting for a slow client. Raises like `read`."""
        self.write_deadline.check()
        self.put(data)
        await self.drain()
        return len(data)

    def put(self, data: bytes) -> None:
        """Send *data* without waiting."""
        if data and not (self._is_closed or self._writer.transport.is_closing()):
            self._writer.write(data)

    async def drain(self) -> None:
        """Wait until the client has read most of what was sent. Raises like `read`."""
        if self._is_closed:
            raise IOFailed(_CLOSED)
        async with self._draining:
            try:
                await self.write_deadline.guard(self._writer.drain())
            except OSError:
                raise IOFailed("write: broken pipe") from None

    def close(self) -> None:
        """Close the connection once everything is sent. Idempotent."""
        self._is_closed = True
        self._on_end = None
        self.read_deadline.set_after(None)
        self.write_deadline.set_after(None)
        self._writer.close()

    def abort(self) -> None:
        """Close the connection at once, dropping what is not sent yet."""
        self.close()
        self._writer.transport.abort()

    async def linger(self, seconds: float) -> None:
        """Stop sending, but keep reading: a close while the client sends could lose our data."""
        self.read_deadline.set_after(seconds)
        try:
            self._writer.write_eof()
            while await self.read(READ_BYTES):
                pass
        except (IOFailed, OSError):
            pass  # The client disconnected or took too long.

    def _end(self) -> None:
        self.has_ended = True
        if self._on_end is not None:
            self._on_end()


def address_text(address: tuple[str, int]) -> str:
    """Format a socket's address the way Go does: `127.0.0.1:9650`, `[::1]:9650`."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
