"""A client's WebSocket at a JSON-RPC service, with its notifications and subscriptions."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from vmsdk.errors import Closed, NotFound, Refused
from vmsdk.http.asgi import FAILURES, Receive, Report, Send, internal_error
from vmsdk.http.rpcmessage import SERVER_ERROR, JSONRPCError, encode

MAX_RUNNING = 16
"""The most concurrent requests of one connection. Others wait."""
MAX_WAITING = 1_000
"""The most requests without a response. A client that sends more is closed with 1013."""
MAX_WAITING_BYTES = 32 * 1024 * 1024
MAX_UNREAD = 1_000
"""The most unread notifications. A client with more is closed with 1013."""
MAX_UNREAD_BYTES = 4 * 1024 * 1024
MAX_SUBSCRIPTIONS = 100
"""The most subscriptions of one connection."""

# RFC 6455, section 7.4.1, and the IANA registry that extends it.
_INTERNAL_ERROR = 1011
_RESTARTING = 1012
_TRY_AGAIN_LATER = 1013

Handle = Callable[..., Awaitable["bytes | None"]]
"""Called with a request's body, the connection, and a list for the subscriptions that it opens."""


class Connection:
    """One client's WebSocket, passed to methods with a parameter annotated `Connection`.

    All methods may be called from any thread. None waits for the client.
    """

    def __init__(self, send: Send, report: Report) -> None:
        self._loop = asyncio.get_running_loop()
        self._send = send
        self._report = report
        self._lock = threading.RLock()
        self._unread: deque[str] = deque()
        self._unread_bytes = 0
        self._close: tuple[int, str] | None = None
        self._is_gone = False
        self._writer: asyncio.Task[None] | None = None
        self._is_writing = False
        self._subscriptions: dict[str, Subscription] = {}
        self.state: dict[str, Any] = {}
        """For the service's own data about this client."""

    @property
    def is_open(self) -> bool:
        """Whether the client can still be reached."""
        return self._close is None

    def notify(self, method: str, params: list[Any] | dict[str, Any] | None = None) -> bool:
        """Send a notification; False if the connection is closed.

        A client with more than `MAX_UNREAD` unread notifications is closed with 1013.
        """
        given = "" if params is None else f',"params":{encode(params)}'
        return self.queue(f'{{"jsonrpc":"2.0","method":{encode(method)}{given}}}')

    def subscribe(
        self, source: AsyncIterator[Any] | None = None, *, method: str = "eth_subscription"
    ) -> Subscription:
        """Create a subscription. Return it from the JSON-RPC method: the client gets its ID.

        Each item of *source* is sent as a notification named *method*. The next one is taken only
        when the previous one has been sent, so clients may read at their own pace. Without a
        source, call `Subscription.send`. Raises `JSONRPCError` above `MAX_SUBSCRIPTIONS`.
        """
        with self._lock:
            if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
                raise JSONRPCError(
                    SERVER_ERROR,
                    f"a connection has at most {MAX_SUBSCRIPTIONS} subscriptions: unsubscribe from some",
                )
            subscription = Subscription(self, source, method)
            if self.is_open:
                self._subscriptions[subscription.id] = subscription
            return subscription

    def unsubscribe(self, subscription_id: str) -> bool:
        """End a subscription; False if this connection has none with this ID."""
        subscription = self._subscriptions.get(subscription_id)
        if subscription is None:
            return False
        subscription.end()
        return True

    def forget(self, subscription_id: str) -> None:
        """Make room for another subscription."""
        self._subscriptions.pop(subscription_id, None)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the WebSocket. Unsent notifications are dropped."""
        with self._lock:
            if self._close is None:
                self._close = code, reason
                self._unread.clear()
                self._unread_bytes = 0
                self._start_writing()

    # For the service ------------------------------------------------------------------------------

    async def serve(self, receive: Receive, handle: Handle) -> None:
        """Handle requests until the client disconnects or the chain stops."""
        running = asyncio.Semaphore(MAX_RUNNING)
        waiting: dict[asyncio.Task[None], int] = {}

        async def respond(body: bytes) -> None:
            opened: list[Subscription] = []
            try:
                async with running:
                    response = await handle(body, connection=self, opened=opened)
            except Closed:
                return  # The chain is stopping.
            if response is not None:
                await self.transmit(response.decode())
            for subscription in opened:
                subscription.begin()

        try:
            while (message := await receive())["type"] == "websocket.receive":
                data = message.get("bytes")
                body = message["text"].encode() if data is None else bytes(data)
                if len(waiting) >= MAX_WAITING:
                    self.close(_TRY_AGAIN_LATER, f"{MAX_WAITING} requests wait: send fewer at a time")
                elif waiting and sum(waiting.values()) + len(body) > MAX_WAITING_BYTES:
                    self.close(_TRY_AGAIN_LATER, f"requests of {MAX_WAITING_BYTES} bytes wait: send fewer")
                elif self.is_open:
                    task = asyncio.create_task(respond(body))
                    waiting[task] = len(body)
                    task.add_done_callback(waiting.pop)
        finally:
            self._end()
            for task in waiting:
                task.cancel()

    async def transmit(self, text: str) -> None:
        """Send a message, and wait until it is sent or the client has disconnected."""
        if self.is_open:
            try:
                await self._send({"type": "websocket.send", "text": text})
            except OSError:
                self._end()

    def queue(self, text: str) -> bool:
        """Queue a message; False if the connection is closed."""
        with self._lock:
            is_full = len(self._unread) >= MAX_UNREAD or self._unread_bytes + len(text) > MAX_UNREAD_BYTES
            if self._unread and is_full:
                self.overflow()
            if not self.is_open:
                return False
            self._unread.append(text)
            self._unread_bytes += len(text)
            self._start_writing()
            return True

    def overflow(self) -> None:
        """Disconnect a client that is too slow."""
        self.close(_TRY_AGAIN_LATER, "too many unread notifications: read faster, or subscribe to less")

    def fail(self, what: str, error: BaseException) -> None:
        """Disconnect the client of a subscription whose source failed."""
        if isinstance(error, (JSONRPCError, NotFound, Refused)):
            self.close(_INTERNAL_ERROR, str(error))
        elif not isinstance(error, Closed):
            fault = self._report(what, error, "its client is closed with 1011")
            self.close(_INTERNAL_ERROR, internal_error(fault))

    def _start_writing(self) -> None:
        if not self._is_writing:
            self._is_writing = True
            try:
                self._loop.call_soon_threadsafe(self._create_writer)
            except RuntimeError:
                self._close = self._close or (_RESTARTING, "")  # The loop is closed.

    def _create_writer(self) -> None:
        self._writer = self._loop.create_task(self._write())

    async def _write(self) -> None:
        """Send what is unread, and the close frame after it."""
        while True:
            with self._lock:
                if self._close is None and not self._unread:
                    self._is_writing = False
                    return
                if self._is_gone:
                    return
                close = self._close
                text = self._unread.popleft() if close is None else ""
                self._unread_bytes -= len(text)
            if close is not None:
                break
            await self.transmit(text)
        try:
            await self._send({"type": "websocket.close", "code": close[0], "reason": close[1]})
        except OSError:
            pass  # The client has disconnected.

    def _end(self) -> None:
        """End everything: the client has disconnected, or the chain stops."""
        with self._lock:
            self._close = self._close or (1000, "")
            self._is_gone = True
            self._unread.clear()
            self._unread_bytes = 0
            subscriptions = list(self._subscriptions.values())
            self._subscriptions.clear()
        for subscription in subscriptions:
            subscription.end()


class Subscription:
    """A client's subscription. When a JSON-RPC method returns it, the client gets its `id`."""

    def __init__(self, connection: Connection, source: AsyncIterator[Any] | None, method: str) -> None:
        self.id = "0x" + os.urandom(16).hex()
        """32 hexadecimal digits after `0x`, as Ethereum's clients expect."""
        self._connection = connection
        self._source = source
        self._method = method
        self._lock = threading.Lock()
        self._held: list[str] | None = []
        """What to send once the client has the ID; None from then on."""
        self._pump: asyncio.Task[None] | None = None
        self._has_ended = False

    def send(self, result: Any) -> bool:
        """Send *result*, any JSON value, to the client; False if the subscription has ended.

        Thread-safe. Doesn't wait for the client: see `Connection.notify`.
        """
        text = self._text(result)
        with self._lock:
            if self._has_ended:
                return False
            if self._held is None:
                return self._connection.queue(text)
            if len(self._held) >= MAX_UNREAD:
                self._connection.overflow()
            self._held.append(text)
            return self._connection.is_open

    def begin(self) -> None:
        """Send what was held, now that the client has the ID. On the event loop."""
        with self._lock:
            held, self._held = self._held or (), None
            for text in held:
                self._connection.queue(text)
            if self._source is not None and self._connection.is_open and not self._has_ended:
                self._pump = asyncio.get_running_loop().create_task(self._send_all(self._source))

    def end(self) -> None:
        """End the subscription: nothing more is sent. Thread-safe."""
        self._connection.forget(self.id)
        with self._lock:
            self._has_ended = True
            pump = self._pump
        if pump is not None:
            try:
                pump.get_loop().call_soon_threadsafe(pump.cancel)
            except RuntimeError:
                pass  # The loop is closed, so the task has ended.

    def _text(self, result: Any) -> str:
        params = f'{{"subscription":"{self.id}","result":{encode(result)}}}'
        return f'{{"jsonrpc":"2.0","method":{encode(self._method)},"params":{params}}}'

    async def _send_all(self, source: AsyncIterator[Any]) -> None:
        try:
            async for result in source:
                await self._connection.transmit(self._text(result))
                if not self._connection.is_open:
                    break
        except FAILURES as error:
            self._connection.fail(f"the source of a subscription ({self._method})", error)
        finally:
            self._connection.forget(self.id)
            if hasattr(source, "aclose"):
                await source.aclose()
