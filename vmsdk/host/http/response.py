"""HTTP responses under the rules of Go's `http.ResponseWriter`, in any HTTP version."""

from __future__ import annotations

import email.utils
import re
from abc import ABC, abstractmethod

from vmsdk.host.http.connection import Connection, IOFailed
from vmsdk.host.http.header import Header, Line, first, to_lines

TRAILER_PREFIX = "Trailer:"
"""Headers with this prefix are sent after the body. Source: net/http/server.go, TrailerPrefix."""

# A shorter body gets a Content-Length; a longer one is sent in pieces.
_BUFFER_BYTES = 4096
_HTML = re.compile(
    rb"\s*<(!doctype html|html|head|body|h1|div|p|a|table|script|title|!--)[ >]", re.IGNORECASE
)
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")


def is_body_allowed(status: int) -> bool:
    """Responses with status 1xx, 204 and 304 have no body."""
    return not (100 <= status < 200 or status in (204, 304))


def valid_status(status: int) -> int:
    """Return *status*, or 500 if it doesn't exist. Source: grpcutils.EnsureValidResponseCode."""
    return status if 100 <= status <= 599 else 500


class ResponseWriter(ABC):
    """Sends one response: the status once, the body through a buffer, then trailers."""

    def __init__(self, method: str) -> None:
        self.header: Header = {}
        """Changes take effect until the status is written, `Trailer:…` names until the end."""
        self.status = 0
        """0 until written."""
        self.hijacked = False
        self._is_head = method == "HEAD"
        self._final: Header = {}
        self._declared: int | None = None
        self._written = 0
        self._buffer = bytearray()
        self._is_started = False

    async def write_header(self, status: int) -> None:
        """Set the status and freeze the headers. The first final status counts; 1xx is ignored."""
        if self.hijacked or self.status or 100 <= status < 200:
            return
        self.status = status
        self._final = {key: list(values) for key, values in self.header.items()}
        length = first(self._final, "Content-Length")
        if length.isascii() and length.isdigit():
            self._declared = int(length)
        else:
            self._final.pop("Content-Length", None)

    async def write(self, data: bytes) -> int:
        """Write to the body, with status 200 if none is set. Raises `IOFailed`."""
        if self.hijacked:
            raise IOFailed("http: connection has been hijacked")
        await self.write_header(self.status or 200)
        if data and not is_body_allowed(self.status):
            raise IOFailed("http: request method or response status code does not allow body")
        self._written += len(data)
        if self._declared is not None and self._written > self._declared:
            raise IOFailed("http: wrote more than the declared Content-Length")
        self._buffer += data
        if len(self._buffer) > _BUFFER_BYTES:
            await self._send()
        return len(data)

    async def flush(self) -> None:
        """Send what is written so far. Raises `IOFailed`."""
        if self.hijacked:
            return
        await self.write_header(self.status or 200)
        await self._send()

    async def finish(self) -> None:
        """Send the rest and the trailers. Raises `IOFailed`."""
        if self.hijacked:
            return
        await self.write_header(self.status or 200)
        await self._send(is_last=True)
        is_complete = self._declared in (None, self._written) or not self._has_body
        await self._send_end(self._trailers(), is_complete=is_complete)

    async def error(self, text: str, status: int) -> None:
        """Respond with a line of text, like Go's `http.Error`; append it if a body has begun."""
        self.header.pop("Content-Length", None)
        self.header["Content-Type"] = ["text/plain; charset=utf-8"]
        self.header["X-Content-Type-Options"] = ["nosniff"]
        try:
            await self.write_header(status)
            await self.write(f"{text}\n".encode("utf-8", "replace"))
        except IOFailed:
            pass  # The client disconnected, or the response can't have a body.

    async def hijack(self) -> tuple[Connection, bytes]:
        """Take over the connection; returns it with the bytes read ahead. Raises `IOFailed`."""
        raise IOFailed("response writer doesn't support hijacking")

    @abstractmethod
    async def _send_head(self, status: int, lines: list[Line], *, has_body: bool) -> None: ...

    @abstractmethod
    async def _send_body(self, data: bytes) -> None: ...

    @abstractmethod
    async def _send_end(self, trailers: list[Line], *, is_complete: bool) -> None: ...

    @property
    def _has_body(self) -> bool:
        return is_body_allowed(self.status) and not self._is_head

    async def _send(self, *, is_last: bool = False) -> None:
        data = bytes(self._buffer)
        self._buffer.clear()
        if not self._is_started:
            self._is_started = True
            head = to_lines(self._head(data, is_whole=is_last))
            await self._send_head(self.status, head, has_body=self._has_body)
        if data and self._has_body:
            await self._send_body(data)

    def _head(self, beginning: bytes, *, is_whole: bool) -> Header:
        """Return the headers to send, given the *beginning* of the body, or all of it if it
        *is_whole*.
        """
        head = {key: values for key, values in self._final.items() if not key.startswith(TRAILER_PREFIX)}
        head.pop("Transfer-Encoding", None)
        head.setdefault("Date", [email.utils.formatdate(usegmt=True)])
        if not is_body_allowed(self.status):
            head.pop("Content-Length", None)
            return head
        if beginning and "Content-Type" not in head and "Content-Encoding" not in head:
            head["Content-Type"] = [_guess_content_type(beginning)]
        has_trailers = "Trailer" in head or any(key.startswith(TRAILER_PREFIX) for key in self._final)
        if is_whole and not has_trailers and self._declared is None and (beginning or not self._is_head):
            head["Content-Length"] = [str(len(beginning))]
        return head

    def _trailers(self) -> list[Line]:
        announced = [name.strip() for value in self._final.get("Trailer", ()) for name in value.split(",")]
        trailers = {name: self.header[name] for name in announced if name in self.header}
        for key, values in self.header.items():
            if key.startswith(TRAILER_PREFIX):
                trailers[key[len(TRAILER_PREFIX) :]] = values
        return to_lines(trailers)


def _guess_content_type(beginning: bytes) -> str:
    """Guess the type of a body as a node does, but distinguish only HTML, text and binary data."""
    if _HTML.match(beginning):
        return "text/html; charset=utf-8"
    return "application/octet-stream" if _BINARY.search(beginning[:512]) else "text/plain; charset=utf-8"
