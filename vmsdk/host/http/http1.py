"""HTTP/1 on one connection: requests in, responses out, until it ends, is taken over, or becomes HTTP/2."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

import h11

from vmsdk.host.http import header as headers
from vmsdk.host.http.failures import BODY_CLOSED, HIJACKED, UNEXPECTED_EOF, IOFailed, Refused
from vmsdk.host.http.header import Line
from vmsdk.host.http.hijacked import Hijacked
from vmsdk.host.http.rawconnection import READ_BYTES, RawConnection
from vmsdk.host.http.request import Body, Request, adopt_lines
from vmsdk.host.http.response import ResponseWriter
from vmsdk.host.http.status import CANCELLED
from vmsdk.host.http.timeouts import Timeouts
from vmsdk.host.http.url import MalformedURL, parse_request_uri

log = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[Request, ResponseWriter], Awaitable[None]]

# Source: net/http/server.go: DefaultMaxHeaderBytes with its slop; maxPostHandlerReadBytes;
# rstAvoidanceDelay; bufferBeforeChunkingSize; the size of the connection's buffered writer.
_HEADER_BYTES = (1 << 20) + 4096
_DISCARDED_BODY_BYTES = 256 << 10
_LINGER_S = 0.5
_BUFFER_BEFORE_CHUNKING_BYTES = 2048
_OUTPUT_BYTES = 4096


@dataclass(frozen=True)
class H2CUpgrade:
    """The client asked to go on in HTTP/2; its first request is *request*, read whole."""

    request: Request
    body: bytes
    settings: str
    trailing: bytes
    """What it has sent after the request."""


class HTTP1Connection:
    """Serves a client; `serve` returns when the connection is no longer its own."""

    def __init__(
        self, raw: RawConnection, handler: Handler, timeouts: Timeouts, *, upgrades_to_http2: bool
    ) -> None:
        self.raw = raw
        self.h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEADER_BYTES)
        self._handler = handler
        self._timeouts = timeouts
        self._upgrades_to_http2 = upgrades_to_http2

    async def serve(self, beginning: bytes) -> H2CUpgrade | None:
        """Serve requests, of which *beginning* has been read; closes the connection unless it was handed on."""
        self.h11.receive_data(beginning)
        try:
            while (event := await self._next_request()) is not None:
                body = HTTP1Body(self)
                request = self._request(event, body)
                if self._upgrades_to_http2 and _is_h2c_upgrade(request):
                    return await self._upgrade(request, body)
                writer = HTTP1Writer(self, request)
                await self._run(request, writer)
                if writer.hijacked:
                    return None
                if not await self._recycle(body):
                    break
        except Refused as refused:
            await self._refuse(refused)
        except IOFailed as error:
            log.debug("%s: %s", self.raw.remote, error)
        self.raw.close()
        return None

    async def _next_request(self) -> h11.Request | None:
        is_idle = self.h11.our_state is h11.IDLE and not self.h11.trailing_data[0]
        deadline = self.raw.read_deadline
        deadline.set_after(self._timeouts.idle_s if is_idle else self._timeouts.read_s)
        while True:
            try:
                event = self.h11.next_event()
            except h11.RemoteProtocolError as error:
                raise Refused(error.error_status_hint, str(error)) from None
            if isinstance(event, h11.Request):
                deadline.set_after(self._timeouts.read_s)
                self.raw.write_deadline.set_after(self._timeouts.write_s)
                return event
            if event is not h11.NEED_DATA:
                return None
            self.h11.receive_data(await self.raw.read(READ_BYTES))
            if is_idle:
                is_idle = False
                deadline.set_after(self._timeouts.read_s)

    def _request(self, event: h11.Request, body: HTTP1Body) -> Request:
        header = headers.from_lines((bytes(name), bytes(value)) for name, value in event.headers)
        is_chunked = "chunked" in headers.tokens(header, "Transfer-Encoding")
        length = headers.first(header, "Content-Length")
        host = adopt_lines(header)
        if headers.first(header, "Expect").lower() not in ("", "100-continue"):
            raise Refused(417)
        target = event.target.decode("latin-1")
        try:
            url = parse_request_uri(target)
        except MalformedURL as error:
            raise Refused(400, str(error)) from None
        major, _, minor = event.http_version.decode("ascii").partition(".")
        return Request(
            method=event.method.decode("ascii"),
            target=target,
            url=url,
            major=int(major),
            minor=int(minor),
            header=header,
            host=url.host or host,
            remote_address=self.raw.remote,
            content_length=-1 if is_chunked else int(length or 0),
            body=body,
            transfer_encoding=["chunked"] if is_chunked else [],
        )

    async def _run(self, request: Request, writer: HTTP1Writer) -> None:
        """Handle one request; give it up when the client hangs up before its answer."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._handle(request, writer))
        # Soon and not at once: what the node answers by itself it answers also to a client that has
        # already shut its sending side down.
        self.raw.on_end(lambda: loop.call_soon(task.cancel))
        try:
            await task
        except asyncio.CancelledError:
            if not (task.cancelled() and self.raw.has_ended):
                raise
            await self._tell_cancelled(writer)
            raise IOFailed("the client hung up") from None
        finally:
            self.raw.on_end(None)

    async def _tell_cancelled(self, writer: HTTP1Writer) -> None:
        if not (self.raw.is_closed or writer.status or writer.hijacked):
            await writer.error(CANCELLED, 500)
            await writer.finish()

    async def _handle(self, request: Request, writer: HTTP1Writer) -> None:
        await self._handler(request, writer)
        request.body.close()
        await writer.finish()

    async def _recycle(self, body: HTTP1Body) -> bool:
        """Make ready for the next request; False if there can't be one."""
        is_through = self.h11.our_state is h11.DONE and await body.discard(_DISCARDED_BODY_BYTES)
        if is_through and self.h11.their_state is h11.DONE:
            self.h11.start_next_cycle()
            return True
        if self.h11.their_state is h11.SEND_BODY:
            await self.raw.linger(_LINGER_S)
        return False

    async def _refuse(self, refused: Refused) -> None:
        phrase = f"{refused.status} {_phrase(refused.status)}"
        text = f"{phrase}: {refused.reason}" if refused.reason else phrase
        self.raw.put(
            f"HTTP/1.1 {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{text}".encode()
        )
        await self.raw.linger(_LINGER_S)

    async def _upgrade(self, request: Request, body: HTTP1Body) -> H2CUpgrade:
        content = await body.read_all()
        await self.raw.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        )
        settings = headers.first(request.header, "Http2-Settings")
        for name in ("Upgrade", "Http2-Settings", "Connection"):
            request.header.pop(name, None)
        return H2CUpgrade(request, content, settings, bytes(self.h11.trailing_data[0]))


class HTTP1Body(Body):
    """Reads from the connection as it is asked to, so that the client feels how fast the handler reads."""

    def __init__(self, connection: HTTP1Connection) -> None:
        self._connection = connection
        self._lock = asyncio.Lock()
        self._left = b""
        self._has_ended = False
        self._is_closed = False
        self._needs_permission = connection.h11.they_are_waiting_for_100_continue

    async def read(self, limit: int) -> bytes:
        if self._is_closed:
            raise IOFailed(BODY_CLOSED)
        return await self._read(limit)

    def close(self) -> None:
        self._is_closed = True

    async def discard(self, limit: int) -> bool:
        """Read up to *limit* bytes to the end; False if there is more, or the client waits for permission to send."""
        if self._needs_permission:
            return False
        while chunk := await self._read(READ_BYTES):
            limit -= len(chunk)
            if limit < 0:
                return False
        return True

    async def _read(self, limit: int) -> bytes:
        async with self._lock:
            if limit <= 0:
                return b""
            if not self._left and not self._has_ended:
                self._left = await self._receive()
            data, self._left = self._left[:limit], self._left[limit:]
            return data

    async def _receive(self) -> bytes:
        connection = self._connection
        if self._needs_permission:
            self._needs_permission = False
            await self._permit()
        while True:
            try:
                event = connection.h11.next_event()
            except h11.RemoteProtocolError as error:
                gone = connection.raw.has_ended
                raise IOFailed(UNEXPECTED_EOF if gone else f"http: {error}") from None
            if isinstance(event, h11.Data):
                if event.data:
                    return bytes(event.data)
            elif event is h11.NEED_DATA:
                connection.h11.receive_data(await connection.raw.read(READ_BYTES))
            else:
                self._has_ended = True
                return b""

    async def _permit(self) -> None:
        """Send 100 Continue, unless the client has begun without it."""
        connection = self._connection
        if connection.h11.they_are_waiting_for_100_continue:
            event = h11.InformationalResponse(status_code=100, headers=[], reason=_reason(100))
            await connection.raw.write(connection.h11.send(event) or b"")


class HTTP1Writer(ResponseWriter):
    """Frames the response with h11, behind a small output buffer like the node's."""

    BUFFER_BYTES = _BUFFER_BEFORE_CHUNKING_BYTES

    def __init__(self, connection: HTTP1Connection, request: Request) -> None:
        super().__init__(request.method)
        self._connection = connection
        self._is_http11 = request.minor >= 1
        self._is_chunked = False
        self._switched = False
        self._output = bytearray()

    async def hijack(self) -> Hijacked:
        if self.hijacked:
            raise IOFailed(HIJACKED)
        raw = self._connection.raw
        if self._committed:
            await self._send_buffered()
        self.hijacked = True
        raw.on_end(None)
        raw.read_deadline.set_after(None)
        raw.write_deadline.set_after(None)
        return Hijacked(raw, bytes(self._connection.h11.trailing_data[0]))

    async def _send_informational(self, status: int, lines: list[Line]) -> None:
        event = h11.InformationalResponse(status_code=status, headers=lines, reason=_reason(status))
        await self._connection.raw.write(self._connection.h11.send(event) or b"")

    async def _send_head(self, status: int, lines: list[Line]) -> None:
        if status == 101:
            # A handler that switches protocols without taking the connection over: nothing can follow.
            self._switched = True
            self._output += b"HTTP/1.1 101 Switching Protocols\r\n"
            self._output += b"".join(b"%b: %b\r\n" % line for line in lines) + b"\r\n"
            return
        has_length = any(name.lower() == b"content-length" for name, _ in lines)
        self._is_chunked = self._is_http11 and self._has_body and not has_length
        self._send(h11.Response(status_code=status, headers=lines, reason=_reason(status)))

    async def _send_body(self, data: bytes) -> None:
        self._send(h11.Data(data=data))
        if len(self._output) > _OUTPUT_BYTES:
            await self._send_buffered()

    async def _send_buffered(self) -> None:
        data = bytes(self._output)
        self._output.clear()
        if self._connection.raw.is_closed:
            raise IOFailed(f"write tcp {self._connection.raw.local}: write: broken pipe")
        await self._connection.raw.write(data)

    async def _send_end(self, trailers: list[Line], *, is_complete: bool) -> None:
        if is_complete and not self._switched:
            self._send(h11.EndOfMessage(headers=trailers if self._is_chunked else []))
        else:
            self._connection.h11.send_failed()
        await self._send_buffered()

    def _send(self, event: h11.Event) -> None:
        self._output += self._connection.h11.send(event) or b""


def _is_h2c_upgrade(request: Request) -> bool:
    """Source: golang.org/x/net/http2/h2c, isH2CUpgrade."""
    return "h2c" in headers.tokens(request.header, "Upgrade") and "http2-settings" in headers.tokens(
        request.header, "Connection"
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"status code {status}"  # As Go writes it.


def _reason(status: int) -> bytes:
    return _phrase(status).encode("ascii")
