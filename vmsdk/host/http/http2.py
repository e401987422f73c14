"""HTTP/2 without TLS on one connection: many requests at once, framed by h2."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from vmsdk.host.http.connection import READ_BYTES, Connection, IOFailed
from vmsdk.host.http.header import Line
from vmsdk.host.http.http1 import Handler
from vmsdk.host.http.request import Body, Request, make_request
from vmsdk.host.http.response import ResponseWriter

log = logging.getLogger(__name__)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The first bytes of an HTTP/2 client. Source: RFC 9113, section 3.4."""

# Sources: net/http/server.go, DefaultMaxHeaderBytes; golang.org/x/net/http2/server.go.
_HEADER_BYTES = 1 << 20
_WINDOW_BYTES = 1 << 20

# These belong to HTTP/1 connections. Source: RFC 9113, section 8.2.2.
_CONNECTION_HEADERS = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}

_STREAM_CLOSED = "http2: stream closed"


class HTTP2Connection:
    """Serves a client until it disconnects."""

    def __init__(self, raw: Connection, handler: Handler, write_timeout_s: float) -> None:
        self.raw = raw
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.decoder.max_header_list_size = _HEADER_BYTES
        self._handler = handler
        self._write_timeout_s = write_timeout_s
        self._streams: dict[int, Stream] = {}

    async def serve(self, beginning: bytes) -> None:
        """Serve the client. *beginning* is what has been read from it so far."""
        self.h2.initiate_connection()
        # Bodies that are not read yet must not stop the other streams.
        self.h2.increment_flow_control_window(_WINDOW_BYTES)
        try:
            data = beginning
            while data:
                for event in self.h2.receive_data(data):
                    self._dispatch(event)
                await self.send()
                data = await self.raw.read(READ_BYTES)
        except h2.exceptions.ProtocolError as error:
            log.debug("%s violated HTTP/2: %s", self.raw.remote, error)
            self.put()  # h2 has prepared a GOAWAY with the reason.
        except IOFailed as error:
            log.debug("%s: %s", self.raw.remote, error)
        finally:
            tasks = [stream.task for stream in self._streams.values()]
            for stream in list(self._streams.values()):
                stream.give_up("client disconnected")
            self.raw.close()
            if tasks:
                await asyncio.wait(tasks)

    async def send(self) -> None:
        """Send what h2 has prepared, waiting for a slow client. Raises `IOFailed`."""
        self.put()
        await self.raw.drain()

    def put(self) -> None:
        """Send what h2 has prepared without waiting."""
        self.raw.put(self.h2.data_to_send())

    def call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call a *method* of h2. Raises `IOFailed` if the stream is closed."""
        try:
            return method(*arguments, **options)
        except h2.exceptions.ProtocolError:
            raise IOFailed(_STREAM_CLOSED) from None

    def acknowledge(self, stream_id: int, size: int) -> None:
        """Let the client send *size* bytes more on the stream."""
        try:
            if size:
                self.h2.acknowledge_received_data(size, stream_id)
                self.put()
        except h2.exceptions.ProtocolError:
            pass  # The connection is closed.

    def _dispatch(self, event: Any) -> None:
        stream = self._streams.get(getattr(event, "stream_id", None) or 0)
        if isinstance(event, h2.events.RequestReceived):
            self._accept(event)
        elif isinstance(event, h2.events.RemoteSettingsChanged | h2.events.WindowUpdated):
            for each in self._streams.values():
                each.window_changed.set()
        elif isinstance(event, h2.events.DataReceived):
            if stream is None or stream.body.is_closed:
                self.acknowledge(event.stream_id, event.flow_controlled_length)
            else:
                stream.body.feed(event.data, event.flow_controlled_length)
        elif isinstance(event, h2.events.StreamEnded) and stream is not None:
            stream.body.end()
        elif isinstance(event, h2.events.StreamReset) and stream is not None:
            stream.give_up("client disconnected")

    def _accept(self, event: h2.events.RequestReceived) -> None:
        body = HTTP2Body(self, event.stream_id)
        has_body = event.stream_ended is None
        if not has_body:
            body.end()
        try:
            request = _request(list(event.headers), self.raw.remote, body, has_body=has_body)
        except ValueError as error:
            log.debug("%s sent a malformed request: %s", self.raw.remote, error)
            self.h2.reset_stream(event.stream_id, h2.errors.ErrorCodes.PROTOCOL_ERROR)
            return
        stream = Stream(self, event.stream_id, request, body)
        self._streams[event.stream_id] = stream
        stream.start(self._handler, self._write_timeout_s)
        stream.task.add_done_callback(lambda _: self._streams.pop(event.stream_id, None))


class Stream:
    """One request and its response."""

    task: asyncio.Task[None]

    def __init__(
        self, connection: HTTP2Connection, stream_id: int, request: Request, body: HTTP2Body
    ) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.request = request
        self.body = body
        self.window_changed = asyncio.Event()

    def start(self, handler: Handler, write_timeout_s: float) -> None:
        """Handle the request in its own task."""
        loop = asyncio.get_running_loop()
        self.task = loop.create_task(self._run(handler))
        timer = loop.call_later(write_timeout_s, self._time_out)
        self.task.add_done_callback(lambda _: timer.cancel())

    def give_up(self, reason: str) -> None:
        """Cancel the handler."""
        self.body.fail(reason)
        self.task.cancel()

    async def _run(self, handler: Handler) -> None:
        writer = HTTP2Writer(self)
        try:
            await handler(self.request, writer)
            await writer.finish()
            if not self.body.has_ended:
                self._reset(h2.errors.ErrorCodes.NO_ERROR)  # The rest of the body is not needed.
            self.body.close()
            await self.connection.send()
        except IOFailed as error:
            log.debug("%s: %s", self.connection.raw.remote, error)
        except Exception:
            log.exception("serving %s failed: a bug in the development host", self.request.target)
            self._reset(h2.errors.ErrorCodes.INTERNAL_ERROR)

    def _time_out(self) -> None:
        self._reset(h2.errors.ErrorCodes.INTERNAL_ERROR)
        self.give_up(_STREAM_CLOSED)

    def _reset(self, code: h2.errors.ErrorCodes) -> None:
        try:
            self.connection.h2.reset_stream(self.stream_id, code)
        except h2.exceptions.ProtocolError:
            return  # The stream is closed.
        self.connection.put()


class HTTP2Body(Body):
    """Data from the client that has not been read yet, limited by the flow-control window."""

    def __init__(self, connection: HTTP2Connection, stream_id: int) -> None:
        self.is_closed = False
        self.has_ended = False
        self._connection = connection
        self._stream_id = stream_id
        self._reader = asyncio.StreamReader()
        self._lock = asyncio.Lock()
        self._unread = 0

    async def read(self, limit: int) -> bytes:
        async with self._lock:
            data = await self._reader.read(max(limit, 0))
        self._unread -= len(data)
        self._connection.acknowledge(self._stream_id, len(data))
        return data

    def close(self) -> None:
        """Drop what is unread and what the client still sends."""
        self.is_closed = True
        self._connection.acknowledge(self._stream_id, self._unread)

    def feed(self, data: bytes, window_bytes: int) -> None:
        """Add *data* from the client, which used up *window_bytes* of the window."""
        self._unread += len(data)
        self._reader.feed_data(data)
        self._connection.acknowledge(self._stream_id, window_bytes - len(data))

    def end(self) -> None:
        """Record that the client has sent the whole body."""
        self.has_ended = True
        self._reader.feed_eof()

    def fail(self, reason: str) -> None:
        """Make reads fail from now on."""
        self._reader.set_exception(IOFailed(reason))


class HTTP2Writer(ResponseWriter):
    """Sends a response in frames, as fast as the client's windows allow."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream.request.method)
        self._stream = stream

    async def _send_head(self, status: int, lines: list[Line], *, has_body: bool) -> None:
        await self._send_headers([(b":status", b"%d" % status), *lines])

    async def _send_body(self, data: bytes) -> None:
        connection, stream_id = self._stream.connection, self._stream.stream_id
        rest = memoryview(data)
        while rest:
            size = min(len(rest), await self._window())
            connection.call(connection.h2.send_data, stream_id, bytes(rest[:size]))
            await connection.send()
            rest = rest[size:]

    async def _send_end(self, trailers: list[Line], *, is_complete: bool) -> None:
        if trailers:
            await self._send_headers(trailers, is_last=True)
        else:
            connection = self._stream.connection
            connection.call(connection.h2.end_stream, self._stream.stream_id)

    async def _send_headers(self, lines: list[Line], *, is_last: bool = False) -> None:
        connection = self._stream.connection
        lines = [(name.lower(), value) for name, value in lines if name.lower() not in _CONNECTION_HEADERS]
        connection.call(connection.h2.send_headers, self._stream.stream_id, lines, end_stream=is_last)
        await connection.send()

    async def _window(self) -> int:
        """Wait until the client accepts data; returns the maximum size of the next frame."""
        connection = self._stream.connection
        while True:
            size: int = connection.call(connection.h2.local_flow_control_window, self._stream.stream_id)
            if size > 0:
                return min(size, connection.h2.max_outbound_frame_size)
            self._stream.window_changed.clear()
            await self._stream.window_changed.wait()


def _request(lines: list[Line], remote: str, body: HTTP2Body, *, has_body: bool) -> Request:
    pseudo = {name: value.decode("utf-8", "surrogateescape") for name, value in lines if name[:1] == b":"}
    request = make_request(
        pseudo[b":method"],
        pseudo.get(b":path", ""),
        (2, 0),
        (line for line in lines if line[0][:1] != b":"),
        remote,
        body,
        authority=pseudo.get(b":authority", ""),
        has_unknown_length=has_body,
    )
    if "Cookie" in request.header:  # HTTP/2 clients may split it: RFC 9113, section 8.2.3.
        request.header["Cookie"] = ["; ".join(request.header["Cookie"])]
    return request
