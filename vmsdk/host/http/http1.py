"""HTTP/1 on one connection: requests and responses, one after the other, framed by h11."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http.client import responses
from typing import TypeAlias

import h11

from vmsdk.host.http.connection import READ_BYTES, Connection, IOFailed
from vmsdk.host.http.header import Line
from vmsdk.host.http.request import Body, MalformedURL, Request, make_request
from vmsdk.host.http.response import ResponseWriter

log = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[Request, ResponseWriter], Awaitable[None]]

# Source: net/http/server.go: DefaultMaxHeaderBytes, maxPostHandlerReadBytes, rstAvoidanceDelay.
_HEADER_BYTES = 1 << 20
_DISCARDED_BODY_BYTES = 256 << 10
_LINGER_S = 0.5


class HTTP1Connection:
    """Serves a client."""

    def __init__(self, raw: Connection, handler: Handler, write_timeout_s: float) -> None:
        self.raw = raw
        self.h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEADER_BYTES)
        self._handler = handler
        self._write_timeout_s = write_timeout_s

    async def serve(self, beginning: bytes) -> None:
        """Serve until the client has its last response or the VM takes over the connection.

        *beginning* is what has been read from the client so far.
        """
        self.h11.receive_data(beginning)
        try:
            while (event := await self._next_request()) is not None:
                body = HTTP1Body(self)
                request = self._request(event, body)
                writer = HTTP1Writer(self, request)
                await self._handle(request, writer)
                if writer.hijacked:
                    return
                if not await self._recycle(body):
                    break
        except h11.RemoteProtocolError as error:
            await self._refuse(error)
        except IOFailed as error:
            log.debug("%s: %s", self.raw.remote, error)
        self.raw.close()

    async def _next_request(self) -> h11.Request | None:
        while True:
            event = self.h11.next_event()
            if isinstance(event, h11.Request):
                self.raw.write_deadline.set_after(self._write_timeout_s)
                return event
            if event is not h11.NEED_DATA:
                return None
            self.h11.receive_data(await self.raw.read(READ_BYTES))

    def _request(self, event: h11.Request, body: HTTP1Body) -> Request:
        major, _, minor = event.http_version.decode("ascii").partition(".")
        try:
            return make_request(
                event.method.decode("ascii"),
                event.target.decode("latin-1"),
                (int(major), int(minor)),
                ((bytes(name), bytes(value)) for name, value in event.headers),
                self.raw.remote,
                body,
            )
        except MalformedURL as error:
            raise h11.RemoteProtocolError(str(error)) from None

    async def _handle(self, request: Request, writer: HTTP1Writer) -> None:
        """Handle one request; cancel the handler if the client disconnects before the response."""
        task = asyncio.ensure_future(self._respond(request, writer))
        # A client may stop sending and still read, so it gets a response that is ready at once.
        self.raw.on_end(lambda: asyncio.get_running_loop().call_soon(task.cancel))
        try:
            await task
        except asyncio.CancelledError:
            if not (task.cancelled() and self.raw.has_ended):
                raise
            raise IOFailed("the client disconnected") from None
        finally:
            self.raw.on_end(None)

    async def _respond(self, request: Request, writer: HTTP1Writer) -> None:
        await self._handler(request, writer)
        await writer.finish()

    async def _recycle(self, body: HTTP1Body) -> bool:
        """Prepare for the next request; returns False if the connection must be closed."""
        is_read = self.h11.our_state is h11.DONE and await body.discard(_DISCARDED_BODY_BYTES)
        if is_read and self.h11.their_state is h11.DONE:
            self.h11.start_next_cycle()
            return True
        if self.h11.their_state is h11.SEND_BODY:
            await self.raw.linger(_LINGER_S)
        return False

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        phrase = f"{error.error_status_hint} {responses[error.error_status_hint]}"
        head = f"HTTP/1.1 {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
        self.raw.put(f"{head}{phrase}: {error}".encode())
        await self.raw.linger(_LINGER_S)


class HTTP1Body(Body):
    """Reads from the connection only on demand, so a slow handler slows the client down."""

    def __init__(self, connection: HTTP1Connection) -> None:
        self._connection = connection
        self._lock = asyncio.Lock()
        self._unread = b""
        self._has_ended = False

    async def read(self, limit: int) -> bytes:
        async with self._lock:
            if limit > 0 and not self._unread and not self._has_ended:
                self._unread = await self._receive()
            data, self._unread = self._unread[: max(limit, 0)], self._unread[max(limit, 0) :]
            return data

    async def discard(self, limit: int) -> bool:
        """Read the rest; False if it exceeds *limit* or the client waits for 100 Continue."""
        if self._connection.h11.they_are_waiting_for_100_continue:
            return False
        while chunk := await self.read(READ_BYTES):
            limit -= len(chunk)
            if limit < 0:
                return False
        return True

    async def _receive(self) -> bytes:
        """Return the next piece of the body, empty at the end."""
        connection = self._connection
        if connection.h11.they_are_waiting_for_100_continue:
            permission = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            await connection.raw.write(connection.h11.send(permission) or b"")
        while True:
            try:
                event = connection.h11.next_event()
            except h11.RemoteProtocolError as error:
                text = "unexpected EOF" if connection.raw.has_ended else f"http: {error}"
                raise IOFailed(text) from None
            if event is h11.NEED_DATA:
                connection.h11.receive_data(await connection.raw.read(READ_BYTES))
            elif not isinstance(event, h11.Data):
                self._has_ended = True
                return b""
            elif event.data:
                return bytes(event.data)


class HTTP1Writer(ResponseWriter):
    """Frames a response with h11."""

    def __init__(self, connection: HTTP1Connection, request: Request) -> None:
        super().__init__(request.method)
        self._connection = connection
        self._allows_chunks = request.minor >= 1
        self._is_chunked = False

    async def hijack(self) -> tuple[Connection, bytes]:
        if self.hijacked:
            raise IOFailed("http: connection has been hijacked")
        self.hijacked = True
        raw = self._connection.raw
        raw.on_end(None)
        raw.write_deadline.set_after(None)
        return raw, bytes(self._connection.h11.trailing_data[0])

    async def _send_head(self, status: int, lines: list[Line], *, has_body: bool) -> None:
        has_length = any(name.lower() == b"content-length" for name, _ in lines)
        self._is_chunked = self._allows_chunks and has_body and not has_length
        reason = responses.get(status, "")
        await self._write(h11.Response(status_code=status, headers=lines, reason=reason.encode()))

    async def _send_body(self, data: bytes) -> None:
        await self._write(h11.Data(data=data))

    async def _send_end(self, trailers: list[Line], *, is_complete: bool) -> None:
        if is_complete:
            await self._write(h11.EndOfMessage(headers=trailers if self._is_chunked else []))
        else:
            self._connection.h11.send_failed()

    async def _write(self, event: h11.Event) -> None:
        await self._connection.raw.write(self._connection.h11.send(event) or b"")
