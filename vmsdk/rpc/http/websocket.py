"""A WebSocket: ASGI on one side, a hijacked connection on the other, wsproto in between."""

from __future__ import annotations

import asyncio
import io
from collections import deque
from collections.abc import Callable
from typing import Any

import grpc
import h11
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from vmsdk.http.asgi import Message, Scope
from vmsdk.rpc.http.exchange import Exchange
from vmsdk.rpc.http.headers import RawHeaders, from_asgi
from vmsdk.rpc.http.nodeservers import ClientDisconnected, HijackedConnection, ResponseChannel
from vmsdk.rpc.http.response import InvalidResponse, Refusal, ResponseStream
from vmsdk.rpc.http.site import Site

MAX_UNREAD = 64
MAX_UNREAD_BYTES = 1024 * 1024

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Limits a message from the client; a larger one ends the connection with 1009."""

READ_BYTES = 64 * 1024
"""Small enough that a chunk may expand a thousandfold."""

PING_INTERVAL_S = 30.0
"""Between two pings. A client that answers neither of them counts as disconnected."""

WRITE_TIMEOUT_S = 600.0
"""How long a client may take to read one message: enough for the largest at 28 KB/s."""

CLOSE_TIMEOUT_S = 5.0
"""How long a client may take to respond to our close frame."""

EVENTS_AT_ONCE = 100
"""Frames to handle before other clients get their turn: 64 KiB hold 10,000 of them."""

# Compressing less takes less time than switching threads.
_COMPRESS_IN_THREAD_BYTES = 64 * 1024
# RFC 6455, section 7.4.1, and the IANA registry that extends it.
_FAILED = 1011
_RESTARTING = 1012

_HANDSHAKE = (b"connection", b"upgrade")
_MAX_REASON = 200


class Deflate(PerMessageDeflate):
    """Compression that declines what a client offers if it is malformed (RFC 7692, section 7.1)."""

    def accept(self, offer: str) -> bool | str | None:
        try:
            return super().accept(offer)
        except ValueError:  # a window that is not a number
            return None


def begin(headers: RawHeaders) -> tuple[WSConnection, list[str]]:
    """The handshake of a request with *headers*, and its subprotocols. Raises `Refusal`."""
    connection = WSConnection(ConnectionType.SERVER)
    needed = [each for each in headers if each[0] in _HANDSHAKE or each[0].startswith(b"sec-websocket-")]
    try:
        connection.initiate_upgrade_connection([(b"host", b"vm"), *needed], "/")
        request: Any = next(iter(connection.events()))
    except RemoteProtocolError as error:
        hint = error.event_hint
        if isinstance(hint, RejectConnection):
            raise Refusal(hint.status_code, _short(error), list(hint.headers)) from None
        raise Refusal(400, _short(error), []) from None
    except (ValueError, LocalProtocolError, h11.LocalProtocolError) as error:
        raise Refusal(400, f"the handshake is malformed: {_short(error)}", []) from None
    return connection, list(request.subprotocols)


def _short(error: Exception) -> str:
    """The text of an error, which may quote what the client sent."""
    return str(error)[:_MAX_REASON]


class Inbox:
    """Messages that the app has not received yet. When it is full, the reader waits.

    It holds up to `MAX_UNREAD` messages. It is also full at `MAX_UNREAD_BYTES`.
    """

    def __init__(self) -> None:
        self._messages: deque[tuple[Message, int]] = deque()
        self._bytes = 0
        self._end: Message | None = None
        self._changed = asyncio.Event()

    def put(self, message: Message, size: int) -> None:
        """Add a message of *size* bytes. After the end it is dropped."""
        if self._end is not None:
            return
        self._messages.append((message, size))
        self._bytes += size
        self._changed.set()

    def end(self, message: Message) -> None:
        """Add the last message, which `get` repeats. Only the first call counts."""
        if self._end is None:
            self._end = message
            self._changed.set()

    async def get(self) -> Message:
        """The next message."""
        while not self._messages:
            if self._end is not None:
                return self._end
            self._changed.clear()
            await self._changed.wait()
        message, size = self._messages.popleft()
        self._bytes -= size
        self._changed.set()
        return message

    async def room(self) -> None:
        """Wait until there is room for another message, or until the end."""
        while self._end is None and (len(self._messages) >= MAX_UNREAD or self._bytes >= MAX_UNREAD_BYTES):
            self._changed.clear()
            await self._changed.wait()


class WebSocketExchange(Exchange):
    """One WebSocket. Its Handle call ends when the connection is hijacked or refused."""

    is_stream = True

    def __init__(
        self,
        scope: Scope,
        handshake: WSConnection,
        node: ResponseChannel,
        stream: ResponseStream,
        connect: Callable[[str], HijackedConnection],
        site: Site,
    ) -> None:
        super().__init__(scope)
        self._ws = handshake
        self._node = node
        self._stream = stream
        """For a response that refuses the WebSocket."""
        self._connect = connect
        self._shared = site.shared
        self._log = site.shared.log
        self._name = site.name(scope)
        self._inbox = Inbox()
        self._inbox.put({"type": "websocket.connect"}, 0)
        self._connection: HijackedConnection | None = None
        self._writing = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None
        # Parts are joined as they arrive: their size is limited, their number is not.
        self._text = io.StringIO()
        self._binary = bytearray()
        self._parts_bytes = 0
        self._close_code = 1000
        """The close code if the app returns without closing."""
        self._is_listening = False
        """Whether the client's messages are being read. They aren't while the inbox is full."""
        self._silent_pings = 0
        """Pings without a response, not counting those sent while nothing is read."""
        self._write_began = 0.0
        """When the last write began, by the loop's clock."""
        self._ping_timer: asyncio.TimerHandle | None = None
        self._pinging: asyncio.Task[None] | None = None

    # The app's side -------------------------------------------------------------------------------

    async def receive(self) -> Message:
        return await self._inbox.get()

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if self.gone:
            raise ClientDisconnected
        if kind.startswith("websocket.http.response."):
            await self._send_response({**message, "type": kind.removeprefix("websocket.")})
        elif self._connection is None:
            await self._send_before_accept(message)
        elif kind == "websocket.send":
            await self._send_data(message)
        elif kind == "websocket.close":
            await self._send_close(message.get("code", 1000), message.get("reason") or "")
        else:
            raise InvalidResponse(f"an app can't send {kind!r} on an open WebSocket")

    async def _send_before_accept(self, message: Message) -> None:
        if message["type"] == "websocket.accept":
            await self._accept(message)
        elif message["type"] == "websocket.close":
            await self._stream.fail(403, message.get("reason") or "Forbidden")
            self._end(1006)
        else:
            raise InvalidResponse(f"the app sent {message['type']!r} before websocket.accept")

    async def _send_response(self, message: Message) -> None:
        if self._connection is not None:
            raise InvalidResponse("the app sent an HTTP response after websocket.accept")
        await self._stream.take(message)
        if self._stream.is_complete:
            self._end(1006)

    async def _accept(self, message: Message) -> None:
        extra = [(name, value) for name, value in message.get("headers", ())]
        from_asgi(extra)  # Raises for a line break, which would forge further headers.
        if any(name.lower().startswith(b"sec-websocket-") for name, _ in extra):
            raise InvalidResponse(
                "the app set a Sec-WebSocket header: pass the subprotocol to accept instead"
            )
        accept = AcceptConnection(
            subprotocol=message.get("subprotocol"), extensions=[Deflate()], extra_headers=extra
        )
        try:
            handshake = self._ws.send(accept)
        except LocalProtocolError as error:
            raise InvalidResponse(f"the app's websocket.accept: {error}") from None
        try:
            self._connection = self._connect(await self._node.hijack())
            await self._connection.write(handshake)
        except (grpc.aio.AioRpcError, ClientDisconnected) as error:
            self._log.debug("%s: the node did not hand over the connection: %s", self._name, error)
            self._lose()
            raise ClientDisconnected from None
        self.finish()
        await self._node.close()
        self._reading = asyncio.create_task(self._read(self._connection))
        self._watch()

    async def _send_data(self, message: Message) -> None:
        data = message.get("bytes")
        if data is not None:
            await self._write(BytesMessage(data=bytes(data)), len(data))
        elif isinstance(message.get("text"), str):
            text = message["text"]
            await self._write(TextMessage(data=text), len(text))
        else:
            raise InvalidResponse('the app sent websocket.send without "text" or "bytes"')

    async def _send_close(self, code: int, reason: str) -> None:
        if self._ws.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            # RFC 6455, section 5.5: 125 bytes, two of them the code.
            short = reason.encode()[:123].decode(errors="ignore")
            await self._write(CloseConnection(code=code, reason=short), 0)
        self._end(code)

    # The client's side ----------------------------------------------------------------------------

    async def _read(self, connection: HijackedConnection) -> None:
        """Read what the client sends, to the end."""
        try:
            while self._ws.state is not ConnectionState.CLOSED:
                await self._inbox.room()
                self._is_listening = True
                chunk = await connection.read(READ_BYTES)
                self._is_listening = False
                self._silent_pings = 0
                if chunk.data:
                    self._ws.receive_data(chunk.data)
                    await self._take_events()
                if chunk.is_end:
                    break
        except (ClientDisconnected, RemoteProtocolError, LocalProtocolError) as error:
            self._log.debug("%s: the WebSocket failed: %s", self._name, error)
        finally:
            self._lose()
            await connection.close()

    async def _take_events(self) -> None:
        for number, event in enumerate(self._ws.events(), start=1):
            if number % EVENTS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if isinstance(event, (TextMessage, BytesMessage)):
                await self._take_data(event)
            elif isinstance(event, Ping):
                if self._ws.state is ConnectionState.OPEN:
                    await self._write(event.response(), 0)
            elif isinstance(event, CloseConnection):
                await self._take_close(event)
                return

    async def _take_data(self, event: TextMessage | BytesMessage) -> None:
        self._parts_bytes += len(event.data)
        if self._parts_bytes > MAX_MESSAGE_BYTES:
            await self._break_off(
                CloseReason.MESSAGE_TOO_BIG, f"a message has at most {MAX_MESSAGE_BYTES} bytes"
            )
        message: Message = {"type": "websocket.receive"}
        if isinstance(event, TextMessage):
            self._text.write(event.data)
            if event.message_finished:
                message["text"] = self._text.getvalue()
                self._text = io.StringIO()
        else:
            self._binary += event.data
            if event.message_finished:
                message["bytes"] = bytes(self._binary)
                self._binary = bytearray()
        if event.message_finished:
            self._inbox.put(message, self._parts_bytes)
            self._parts_bytes = 0

    async def _take_close(self, event: CloseConnection) -> None:
        if self._ws.state is ConnectionState.OPEN:
            # wsproto has made this event: it refuses the client's frames.
            await self._break_off(event.code, event.reason or "")
        code = CloseReason.NO_STATUS_RCVD if event.code is None else event.code
        self._inbox.end({"type": "websocket.disconnect", "code": int(code), "reason": event.reason or ""})
        if self._ws.state is ConnectionState.REMOTE_CLOSING:
            await self._write(event.response(), 0)
        self._end(int(code))

    async def _break_off(self, code: int, reason: str) -> None:
        """Close a client's connection that breaks the protocol."""
        await self._send_close(int(code), reason)
        raise ClientDisconnected

    # The connection -------------------------------------------------------------------------------

    async def _write(self, event: Event, size: int) -> None:
        """Send one event, in order. Raises `ClientDisconnected`."""
        connection = self._connection
        if connection is None:
            raise ClientDisconnected
        async with self._writing:
            self._write_began = asyncio.get_running_loop().time()
            try:
                if size > _COMPRESS_IN_THREAD_BYTES:
                    data = await self._shared.pool.run(self._ws.send, event)
                else:
                    data = self._ws.send(event)
                await connection.write(data)
            except ClientDisconnected:
                self._lose()
                raise
            except LocalProtocolError as error:
                if self._ws.state is ConnectionState.OPEN:
                    raise InvalidResponse(str(error)) from None
                raise ClientDisconnected from None

    def _watch(self) -> None:
        """Schedule the next check of whether the client is still there."""
        self._ping_timer = asyncio.get_running_loop().call_later(PING_INTERVAL_S, self._ping)

    def _ping(self) -> None:
        if self._reading is not None and (self._silent_pings >= 2 or self._is_stuck()):
            self._reading.cancel()
            return
        if self._ws.state is not ConnectionState.OPEN:
            self._silent_pings += 1  # The client owes a response to our close frame.
        elif not self._writing.locked():
            self._pinging = asyncio.ensure_future(self._send_ping())
        self._watch()

    def _is_stuck(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._writing.locked() and now - self._write_began > WRITE_TIMEOUT_S

    async def _send_ping(self) -> None:
        try:
            await self._write(Ping(), 0)
        except ClientDisconnected:
            return
        if self._is_listening:
            self._silent_pings += 1

    def _end(self, code: int) -> None:
        """Nothing more will be sent."""
        self._inbox.end({"type": "websocket.disconnect", "code": code, "reason": ""})
        self.gone = True
        self.finish()

    def _lose(self) -> None:
        self._end(1006)
        if self._ping_timer is not None:
            self._ping_timer.cancel()

    # The server's side ----------------------------------------------------------------------------

    def disconnect(self) -> None:
        self._close_code = _RESTARTING
        self._end(1006)

    async def ended(self) -> None:
        if self._connection is None and not self.gone:
            raise InvalidResponse("the app returned without websocket.accept or websocket.close")

    @property
    def status(self) -> int:
        return self._stream.response.status if self._connection is None else 101

    async def fail(self, status: int, text: str) -> None:
        if self._connection is None:
            await self._stream.fail(status, text)
            return
        await self._close_quietly(_FAILED if status == 500 else _RESTARTING)

    async def close(self) -> None:
        try:
            if self._reading is not None:
                await self._close_quietly(self._close_code)
                await asyncio.wait([self._reading], timeout=CLOSE_TIMEOUT_S)
        finally:
            if self._reading is not None:
                self._reading.cancel()
                await asyncio.wait([self._reading])
            elif self._connection is not None:
                await self._connection.close()
            await self._node.close()

    async def _close_quietly(self, code: int) -> None:
        try:
            await self._send_close(code, "")
        except (ClientDisconnected, InvalidResponse):
            pass  # The client has disconnected already.
