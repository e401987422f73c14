"""A response in the making: the rules of Go's `http.ResponseWriter`, whatever HTTP version carries it."""

from __future__ import annotations

import email.utils
from abc import ABC, abstractmethod
from typing import ClassVar

from vmsdk.host.http import sniff
from vmsdk.host.http.failures import BODY_NOT_ALLOWED, HIJACKED, NO_HIJACKING, WROTE_TOO_MUCH, IOFailed
from vmsdk.host.http.header import Header, Line, first, to_lines
from vmsdk.host.http.hijacked import Hijacked

TRAILER_PREFIX = "Trailer:"
"""Headers so named are sent after the body. Source: net/http/server.go, TrailerPrefix."""


def is_body_allowed(status: int) -> bool:
    """1xx, 204 and 304 have no body."""
    return not (100 <= status < 200 or status in (204, 304))


class ResponseWriter(ABC):
    """Sends one response: a status once, then the body through a buffer, then trailers."""

    BUFFER_BYTES: ClassVar[int]
    """How much is held back until `flush` or `finish`; a body that fits gets its Content-Length computed."""

    def __init__(self, method: str) -> None:
        self.header: Header = {}
        """Changes count until the status is written; `Trailer:…` names until the end."""
        self.status = 0
        """0 until written."""
        self.written = 0
        """Bytes of body taken from the handler."""
        self.hijacked = False
        self._is_head = method == "HEAD"
        self._snapshot: Header = {}
        self._declared: int | None = None
        self._buffer = bytearray()
        self._committed = False
        self._trailer_names: list[str] = []

    async def write_header(self, status: int) -> None:
        """Set the status, and with it the headers; an informational one is sent at once, and not final."""
        if self.hijacked or self.status:
            return
        if 100 <= status < 200 and status != 101:
            await self._send_informational(status, to_lines(_without(self.header, "Content-Length")))
            return
        self.status = status
        self._snapshot = {key: list(values) for key, values in self.header.items()}
        length = first(self._snapshot, "Content-Length")
        if length.isascii() and length.isdigit():
            self._declared = int(length)
            self._snapshot["Content-Length"] = [length]
        else:
            self._snapshot.pop("Content-Length", None)

    async def write(self, data: bytes) -> int:
        """Write to the body; the status is 200 if none was written. Raises `IOFailed`."""
        if self.hijacked:
            raise IOFailed(HIJACKED)
        await self.write_header(self.status or 200)
        if not data:
            return 0
        if not is_body_allowed(self.status):
            raise IOFailed(BODY_NOT_ALLOWED)
        self.written += len(data)
        if self._declared is not None and self.written > self._declared:
            raise IOFailed(WROTE_TOO_MUCH)
        await self._fill(data)
        return len(data)

    async def flush(self) -> None:
        """Send what has been written, headers first. Raises `IOFailed`."""
        if self.hijacked:
            return
        await self.write_header(self.status or 200)
        if self._buffer or not self._committed:
            await self._emit(bytes(self._buffer))
            self._buffer.clear()
        await self._send_buffered()

    async def finish(self) -> None:
        """The handler is done: send the rest, and the trailers. Raises `IOFailed`."""
        if self.hijacked:
            return
        await self.write_header(self.status or 200)
        rest = bytes(self._buffer)
        self._buffer.clear()
        if rest or not self._committed:
            await self._emit(rest, done=True)
        is_complete = self._declared is None or self.written == self._declared or not self._has_body
        await self._send_end(self._trailers(), is_complete=is_complete)

    async def error(self, text: str, status: int) -> None:
        """Answer with a sentence in plain text, as Go's `http.Error`: after a started body, it follows it."""
        self.header.pop("Content-Length", None)
        self.header["Content-Type"] = ["text/plain; charset=utf-8"]
        self.header["X-Content-Type-Options"] = ["nosniff"]
        try:
            await self.write_header(status)
            await self.write(f"{text}\n".encode("utf-8", "replace"))
        except IOFailed:
            pass  # The client is gone, or takes no body: there is nobody to tell.

    async def hijack(self) -> Hijacked:
        """Take the connection over. Raises `IOFailed`."""
        raise IOFailed(NO_HIJACKING)

    # How an HTTP version sends ---------------------------------------------------------------

    @abstractmethod
    async def _send_informational(self, status: int, lines: list[Line]) -> None: ...

    @abstractmethod
    async def _send_head(self, status: int, lines: list[Line]) -> None: ...

    @abstractmethod
    async def _send_body(self, data: bytes) -> None: ...

    @abstractmethod
    async def _send_buffered(self) -> None: ...

    @abstractmethod
    async def _send_end(self, trailers: list[Line], *, is_complete: bool) -> None: ...

    # -----------------------------------------------------------------------------------------

    @property
    def _has_body(self) -> bool:
        return is_body_allowed(self.status) and not self._is_head

    async def _fill(self, data: bytes) -> None:
        """Like Go's bufio.Writer: only whole buffers leave, and what exceeds an empty one passes by it."""
        while len(data) > self.BUFFER_BYTES - len(self._buffer):
            if not self._buffer:
                await self._emit(data)
                return
            room = self.BUFFER_BYTES - len(self._buffer)
            self._buffer += data[:room]
            data = data[room:]
            await self._emit(bytes(self._buffer))
            self._buffer.clear()
        self._buffer += data

    async def _emit(self, data: bytes, *, done: bool = False) -> None:
        if not self._committed:
            self._committed = True
            await self._send_head(self.status, to_lines(self._head(data, done=done)))
        if data and self._has_body:
            await self._send_body(data)

    def _head(self, beginning: bytes, *, done: bool) -> Header:
        """The headers to send, given the *beginning* of the body, or all of it if *done*."""
        head = {key: values for key, values in self._snapshot.items() if not key.startswith(TRAILER_PREFIX)}
        head.pop("Transfer-Encoding", None)
        self._trailer_names = [name for value in head.get("Trailer", ()) for name in value.split(",")]
        has_trailers = bool(self._trailer_names) or any(
            key.startswith(TRAILER_PREFIX) for key in self._snapshot
        )
        if "Date" not in head:
            head["Date"] = [email.utils.formatdate(usegmt=True)]
        if not is_body_allowed(self.status):
            # 304 may tell the length of the body that it doesn't have; Go sends none.
            for name in ("Content-Length", *(("Content-Type",) if self.status == 304 else ())):
                head.pop(name, None)
            return head
        if beginning and "Content-Type" not in head and not first(head, "Content-Encoding"):
            head["Content-Type"] = [sniff.content_type(beginning)]
        is_known = done and not has_trailers and self._declared is None and (beginning or not self._is_head)
        if is_known:
            head["Content-Length"] = [str(len(beginning))]
        return head

    def _trailers(self) -> list[Line]:
        trailers = {
            key[len(TRAILER_PREFIX) :]: values
            for key, values in self.header.items()
            if key.startswith(TRAILER_PREFIX)
        }
        for name in self._trailer_names:
            values = self.header.get(name.strip())
            if values:
                trailers.setdefault(name.strip(), values)
        return to_lines(trailers)


def _without(header: Header, name: str) -> Header:
    return {key: values for key, values in header.items() if key != name}
