"""HTTP/2 in clear text on one connection: streams of requests and responses, at once and under flow control."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections import deque
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from vmsdk.host.http import header as headers
from vmsdk.host.http.failures import BODY_CLOSED, DeadlineExceeded, IOFailed
from vmsdk.host.http.header import Line
from vmsdk.host.http.http1 import H2CUpgrade, Handler
from vmsdk.host.http.rawconnection import READ_BYTES, RawConnection
from vmsdk.host.http.request import Body, Request, adopt_lines
from vmsdk.host.http.response import ResponseWriter
from vmsdk.host.http.timeouts import Timeouts
from vmsdk.host.http.url import parse_request_uri

log = logging.getLogger(__name__)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client that knows that we speak HTTP/2 sends first. Source: RFC 9113, section 3.4."""

# Source: api/server/server.go, maxConcurrentStreams.
_MAX_STREAMS = 64
# Source: golang.org/x/net/http2/server.go: the receive windows, the response buffer; net/http: the headers.
_WINDOW_BYTES = 1 << 20
_RESPONSE_BUFFER_BYTES = 4096
_HEADER_BYTES = 1 << 20
_DEFAULT_WINDOW_BYTES = 65_535  # RFC 9113, section 6.9.2.

# They belong to one HTTP/1 connection: RFC 9113, section 8.2.2.
_CONNECTION_HEADERS = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}

_CLIENT_GONE = "client disconnected"
_STREAM_CLOSED = "http2: stream closed"


class HTTP2Connection:
    """Serves a client until it hangs up or has been idle for too long."""

    def __init__(self, raw: RawConnection, handler: Handler, timeouts: Timeouts) -> None:
        self.raw = raw
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: _MAX_STREAMS,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW_BYTES,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: _HEADER_BYTES,
            },
        )
        self.h2.decoder.max_header_list_size = _HEADER_BYTES
        self._handler = handler
        self._timeouts = timeouts
        self._streams: dict[int, Stream] = {}

    async def serve(self, beginning: bytes, upgrade: H2CUpgrade | None = None) -> None:
        """Serve the streams of the client, of whose bytes *beginning* has been read; closes the connection."""
        try:
            await self._begin(upgrade)
            data = beginning or await self._receive()
            while data:
                for event in self.h2.receive_data(data):
                    self._dispatch(event)
                await self.send()
                data = await self._receive()
        except h2.exceptions.ProtocolError as error:
            log.debug("%s broke HTTP/2: %s", self.raw.remote, error)
            self.put()  # h2 has prepared a GOAWAY that says what was wrong.
        except DeadlineExceeded:
            self.h2.close_connection()
            self.put()
        except IOFailed as error:
            log.debug("%s: %s", self.raw.remote, error)
        finally:
            await self._end()

    async def send(self) -> None:
        """Send what h2 has to send. Raises `IOFailed`."""
        self.put()
        await self.raw.drain()

    def forget(self, stream_id: int) -> None:
        """The stream is over."""
        self._streams.pop(stream_id, None)
        if not self._streams:
            self.raw.read_deadline.set_after(self._timeouts.idle_s)

    def put(self) -> None:
        """Hand over what h2 has to send, without waiting."""
        self.raw.put(self.h2.data_to_send())

    async def _begin(self, upgrade: H2CUpgrade | None) -> None:
        if upgrade is None:
            self.h2.initiate_connection()
        else:
            self.h2.initiate_upgrade_connection(upgrade.settings.encode("ascii", "replace"))
        self.h2.increment_flow_control_window(_WINDOW_BYTES - _DEFAULT_WINDOW_BYTES)
        self.raw.write_deadline.set_after(None)
        self.raw.read_deadline.set_after(self._timeouts.idle_s)
        if upgrade is not None:
            body = HTTP2Body(self, 1)
            body.feed(upgrade.body, 0)
            body.end()
            request = dataclasses.replace(upgrade.request, major=2, minor=0, body=body)
            self._open(1, request, body)
        await self.send()

    async def _receive(self) -> bytes:
        return await self.raw.read(READ_BYTES)

    async def _end(self) -> None:
        tasks = [stream.task for stream in self._streams.values()]
        for stream in list(self._streams.values()):
            stream.give_up(_CLIENT_GONE)
        self.raw.close()
        if tasks:
            await asyncio.wait(tasks)

    def _dispatch(self, event: Any) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._accept(event)
        elif isinstance(event, h2.events.RemoteSettingsChanged | h2.events.WindowUpdated):
            for stream in self._streams.values():
                stream.window_changed.set()
        elif isinstance(event, h2.events.DataReceived):
            self._take(event)
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id in self._streams:
            self._streams[event.stream_id].body.end()
        elif isinstance(event, h2.events.StreamReset) and event.stream_id in self._streams:
            self._streams[event.stream_id].give_up(_CLIENT_GONE)

    def _take(self, event: h2.events.DataReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None or stream.body.is_closed:
            self.acknowledge(event.stream_id, event.flow_controlled_length)
        else:
            stream.body.feed(event.data, event.flow_controlled_length)

    def acknowledge(self, stream_id: int, size: int) -> None:
        """Let the client send *size* bytes more."""
        if size:
            self.h2.acknowledge_received_data(size, stream_id)

    def _accept(self, event: h2.events.RequestReceived) -> None:
        has_body = event.stream_ended is None
        body = HTTP2Body(self, event.stream_id)
        try:
            request = _request(list(event.headers), self.raw.remote, body, has_body=has_body)
        except ValueError as error:
            log.debug("%s sent a malformed request: %s", self.raw.remote, error)
            self.h2.reset_stream(event.stream_id, h2.errors.ErrorCodes.PROTOCOL_ERROR)
            return
        if not has_body:
            body.end()
        self._open(event.stream_id, request, body)

    def _open(self, stream_id: int, request: Request, body: HTTP2Body) -> None:
        stream = Stream(self, stream_id, request, body)
        self._streams[stream_id] = stream
        self.raw.read_deadline.set_after(None)
        stream.start(self._handler, self._timeouts)


class Stream:
    """One request with its response."""

    task: asyncio.Task[None]

    def __init__(
        self, connection: HTTP2Connection, stream_id: int, request: Request, body: HTTP2Body
    ) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.request = request
        self.body = body
        self.window_changed = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []

    def start(self, handler: Handler, timeouts: Timeouts) -> None:
        """Begin to handle it, in a task of its own."""
        loop = asyncio.get_running_loop()
        self._timers = [
            loop.call_later(timeouts.read_s, self.body.fail, "i/o timeout"),
            loop.call_later(timeouts.write_s, self.reset),
        ]
        self.task = loop.create_task(self._run(handler))

    def reset(self) -> None:
        """Its time is over: a node tells the client that something inside failed, and cancels the handler."""
        self._reset(h2.errors.ErrorCodes.INTERNAL_ERROR)
        self.give_up(_STREAM_CLOSED)

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
                # The answer is complete; the client need not send the rest of its body.
                self._reset(h2.errors.ErrorCodes.NO_ERROR)
            self.body.close()
            await self.connection.send()
        except IOFailed as error:
            log.debug("%s: %s", self.connection.raw.remote, error)
        except Exception:
            log.exception("serving %s failed: a bug in the development host", self.request.target)
            self._reset(h2.errors.ErrorCodes.INTERNAL_ERROR)
        finally:
            for timer in self._timers:
                timer.cancel()
            self.connection.forget(self.stream_id)

    def _reset(self, code: h2.errors.ErrorCodes) -> None:
        try:
            self.connection.h2.reset_stream(self.stream_id, code)
        except h2.exceptions.ProtocolError:
            return  # The client was faster.
        self.connection.put()


class HTTP2Body(Body):
    """What the client has sent and nobody read yet; the flow-control window bounds it."""

    def __init__(self, connection: HTTP2Connection, stream_id: int) -> None:
        self.is_closed = False
        self.has_ended = False
        self.needs_permission = False
        """The client waits for 100 Continue, which the first read sends."""
        self._connection = connection
        self._stream_id = stream_id
        self._chunks: deque[bytes] = deque()
        self._owed = 0
        """Bytes of the window that the client has used, and gets back once they are read."""
        self._failure: str | None = None
        self._changed = asyncio.Event()

    async def read(self, limit: int) -> bytes:
        if limit <= 0:
            return b""
        while not self._chunks:
            if self.is_closed:
                raise IOFailed(BODY_CLOSED)
            if self._failure is not None:
                raise IOFailed(self._failure)
            if self.has_ended:
                return b""
            self._permit()
            self._changed.clear()
            await self._changed.wait()
        chunk = self._chunks.popleft()
        if len(chunk) > limit:
            self._chunks.appendleft(chunk[limit:])
        elif not self._chunks:
            self._acknowledge()
        return chunk[:limit]

    def close(self) -> None:
        self.is_closed = True
        self._chunks.clear()
        self._acknowledge()
        self._changed.set()

    def feed(self, data: bytes, window_bytes: int) -> None:
        """The client sent *data*, which took *window_bytes* of its window."""
        self._owed += window_bytes
        if data:
            self._chunks.append(data)
            self._changed.set()
        else:
            self._acknowledge()

    def end(self) -> None:
        """The client has sent everything."""
        self.has_ended = True
        self._changed.set()

    def fail(self, reason: str) -> None:
        """Nothing more will come, and not because it was the end."""
        if not self.has_ended and self._failure is None:
            self._failure = reason
            self._changed.set()

    def _acknowledge(self) -> None:
        owed, self._owed = self._owed, 0
        try:
            self._connection.acknowledge(self._stream_id, owed)
        except h2.exceptions.ProtocolError:
            return  # The connection is over.
        self._connection.put()

    def _permit(self) -> None:
        if not self.needs_permission:
            return
        self.needs_permission = False
        try:
            self._connection.h2.send_headers(self._stream_id, [(b":status", b"100")])
        except h2.exceptions.ProtocolError:
            return  # An answer has begun already, or the stream is over.
        self._connection.put()


class HTTP2Writer(ResponseWriter):
    """Sends frames as the client's windows allow."""

    BUFFER_BYTES = _RESPONSE_BUFFER_BYTES

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream.request.method)
        self._stream = stream
        self._head_lines: list[Line] | None = None

    async def _send_informational(self, status: int, lines: list[Line]) -> None:
        self._send_headers([(b":status", b"%d" % status), *_fit(lines)])
        await self._stream.connection.send()

    async def _send_head(self, status: int, lines: list[Line]) -> None:
        # Held back for a moment: a response without body ends with its headers, as some clients expect.
        self._head_lines = [(b":status", b"%d" % status), *_fit(lines)]

    async def _send_body(self, data: bytes) -> None:
        await self._send_buffered()
        rest = memoryview(data)
        while rest:
            size = await self._window(len(rest))
            try:
                self._stream.connection.h2.send_data(self._stream.stream_id, bytes(rest[:size]))
            except h2.exceptions.ProtocolError:
                raise IOFailed(_STREAM_CLOSED) from None
            await self._stream.connection.send()
            rest = rest[size:]

    async def _send_buffered(self) -> None:
        lines, self._head_lines = self._head_lines, None
        if lines is not None:
            self._send_headers(lines)
            await self._stream.connection.send()

    async def _send_end(self, trailers: list[Line], *, is_complete: bool) -> None:
        lines, self._head_lines = self._head_lines, None
        if lines is not None:
            self._send_headers(lines, is_last=not trailers)
            if not trailers:
                return
        if trailers:
            self._send_headers(_fit(trailers), is_last=True)
            return
        try:
            self._stream.connection.h2.end_stream(self._stream.stream_id)
        except h2.exceptions.ProtocolError:
            raise IOFailed(_STREAM_CLOSED) from None

    def _send_headers(self, lines: list[Line], *, is_last: bool = False) -> None:
        try:
            self._stream.connection.h2.send_headers(self._stream.stream_id, lines, end_stream=is_last)
        except h2.exceptions.ProtocolError:
            raise IOFailed(_STREAM_CLOSED) from None

    async def _window(self, wanted: int) -> int:
        """How many of the *wanted* bytes may go into the next frame, at least one."""
        connection = self._stream.connection.h2
        while True:
            try:
                window = connection.local_flow_control_window(self._stream.stream_id)
            except h2.exceptions.ProtocolError:
                raise IOFailed(_STREAM_CLOSED) from None
            if window > 0:
                return min(wanted, window, connection.max_outbound_frame_size)
            self._stream.window_changed.clear()
            await self._stream.window_changed.wait()


def _fit(lines: list[Line]) -> list[Line]:
    return [(name.lower(), value) for name, value in lines if name.lower() not in _CONNECTION_HEADERS]


def _request(lines: list[Line], remote: str, body: HTTP2Body, *, has_body: bool) -> Request:
    pseudo = {
        name.decode("ascii"): value.decode("utf-8", "surrogateescape")
        for name, value in lines
        if name.startswith(b":")
    }
    header = headers.from_lines(line for line in lines if not line[0].startswith(b":"))
    length = headers.first(header, "Content-Length")
    host = adopt_lines(header)
    if "Cookie" in header:
        header["Cookie"] = ["; ".join(header["Cookie"])]
    if headers.first(header, "Expect").lower() == "100-continue":
        del header["Expect"]
        body.needs_permission = has_body
    target = pseudo.get(":path", "")
    return Request(
        method=pseudo[":method"],
        target=target,
        url=parse_request_uri(target),
        major=2,
        minor=0,
        header=header,
        host=pseudo.get(":authority") or host,
        remote_address=remote,
        content_length=(int(length) if length else -1) if has_body else 0,
        body=body,
    )
