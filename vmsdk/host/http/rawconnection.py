"""One TCP connection of a client, with reads, writes, deadlines and error texts like those of Go's `net.Conn`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from vmsdk.host.http.deadline import Deadline, DeadlinePassed
from vmsdk.host.http.failures import DeadlineExceeded, IOFailed

READ_BYTES = 64 * 1024


class ClientProtocol(asyncio.StreamReaderProtocol):
    """Tells at once when the client has hung up, also while nobody reads."""

    on_end: Callable[[], object] | None = None
    """Called at the end of what the client sends, and when the connection is lost."""

    def eof_received(self) -> bool:
        super().eof_received()
        self._tell()
        return True  # The client may still want to read.

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._tell()

    def _tell(self) -> None:
        if self.on_end is not None:
            self.on_end()


class RawConnection:
    """Reads and writes bytes. All methods belong to the event loop's thread."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.local = address_text(writer.get_extra_info("sockname"))
        """host:port of our end."""
        self.remote = address_text(writer.get_extra_info("peername"))
        """host:port of the client."""
        self.read_deadline = Deadline()
        self.write_deadline = Deadline()
        self.has_ended = False
        """The client sends nothing more, or is gone."""
        self._reader = reader
        self._writer = writer
        self._reading = asyncio.Lock()
        self._draining = asyncio.Lock()
        self._returned = b""
        self._is_closed = False
        self._on_end: Callable[[], object] | None = None
        protocol = writer.transport.get_protocol()
        assert isinstance(protocol, ClientProtocol)
        protocol.on_end = self._end

    @property
    def is_closed(self) -> bool:
        return self._is_closed or self._writer.transport.is_closing()

    def on_end(self, call: Callable[[], object] | None) -> None:
        """Call this when the client hangs up: at once if it has. None: nobody any more."""
        self._on_end = call
        if call is not None and self.has_ended:
            call()

    async def read(self, limit: int) -> bytes:
        """One read: up to *limit* bytes as soon as there are any, nothing at the end.

        Raises `DeadlineExceeded`, or `IOFailed` for a broken or closed connection.
        """
        async with self._reading:
            if self._is_closed:
                raise IOFailed(self._closed_text("read"))
            if limit <= 0:
                return b""
            if not self._returned:
                await self._receive(limit)
            data, self._returned = self._returned[:limit], self._returned[limit:]
            return data

    async def _receive(self, limit: int) -> None:
        try:
            await self.read_deadline.guard(self._receive_some(limit))
        except DeadlinePassed:
            raise DeadlineExceeded(f"read tcp {self._ends}: i/o timeout") from None
        except (ConnectionError, OSError):
            raise IOFailed(f"read tcp {self._ends}: read: connection reset by peer") from None
        if self._is_closed:
            raise IOFailed(self._closed_text("read"))

    async def _receive_some(self, limit: int) -> None:
        # Kept here and not handed over: a reader that is cancelled at this moment must lose nothing.
        self._returned = await self._reader.read(limit)

    async def write(self, data: bytes) -> int:
        """Send all of *data*; waits while the client takes nothing. Raises like `read`."""
        if self.write_deadline.has_passed():
            raise DeadlineExceeded(f"write tcp {self._ends}: i/o timeout")
        self.put(data)
        await self.drain()
        return len(data)

    def put(self, data: bytes) -> None:
        """Hand *data* over without waiting."""
        if data and not self.is_closed:
            self._writer.write(data)

    async def drain(self) -> None:
        """Wait until the client has taken most of what was handed over. Raises like `read`."""
        if self._is_closed:
            raise IOFailed(self._closed_text("write"))
        async with self._draining:
            try:
                await self.write_deadline.guard(self._writer.drain())
            except DeadlinePassed:
                raise DeadlineExceeded(f"write tcp {self._ends}: i/o timeout") from None
            except (ConnectionError, OSError):
                raise IOFailed(f"write tcp {self._ends}: write: broken pipe") from None

    def close(self) -> None:
        """Close after sending what was handed over. Harmless when repeated."""
        self._is_closed = True
        self._on_end = None
        self.read_deadline.set_after(None)
        self.write_deadline.set_after(None)
        self._writer.close()

    def abort(self) -> None:
        """Close at once; what was not sent is dropped."""
        self.close()
        self._writer.transport.abort()

    async def linger(self, seconds: float) -> None:
        """Tell the client that no more comes and let it finish sending, so that it can read our last answer."""
        self.read_deadline.set_after(seconds)
        try:
            if self._writer.can_write_eof():
                self._writer.write_eof()
            while await self.read(READ_BYTES):
                pass
        except (IOFailed, OSError):
            pass  # It is gone, or had its time.

    @property
    def _ends(self) -> str:
        return f"{self.local}->{self.remote}"

    def _closed_text(self, operation: str) -> str:
        return f"{operation} tcp {self._ends}: use of closed network connection"

    def _end(self) -> None:
        self.has_ended = True
        if self._on_end is not None:
            self._on_end()


def address_text(address: object) -> str:
    """A socket's address as Go writes it: `127.0.0.1:9650`, `[::1]:9650`."""
    if not isinstance(address, tuple):
        return ""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
