"""A request and its response, for each of the two ways in which a node forwards requests."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import grpc

from vmsdk._pb.http import http_pb2
from vmsdk.http.asgi import Message, Scope
from vmsdk.rpc.http.headers import HeaderMap, merge, to_wire, trailer_keys
from vmsdk.rpc.http.nodeservers import Chunk, ClientDisconnected, NodeReader, ResponseChannel
from vmsdk.rpc.http.response import InvalidResponse, Phase, Response, ResponseStream

MAX_RESPONSE_BYTES = 256 * 1024 * 1024
"""The longest response to a HandleSimple call. It is one message, in memory on both sides."""

# Over HTTP/1, a browser's EventSource gets nothing until the response ends, and then reconnects. So
# the response ends soon after the first event, or before proxies time out.
EVENTS_LINGER_S = 0.1
EVENTS_WAIT_S = 25.0
_EVENT_STREAM = "text/event-stream"

# One call per read: large enough that 8 MiB take few calls, small enough not to matter in memory.
READ_BYTES = 256 * 1024


class Exchange(ABC):
    """A request and its response. The app calls `receive` and `send`, the server the rest."""

    is_stream: ClassVar[bool]
    """Whether it may take long, with its own connections to the node."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.gone = False
        """Whether the client has disconnected."""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the response is complete or abandoned. The app may still have background tasks.
        """
        self._disconnected: asyncio.Future[None] | None = None

    # For the app ----------------------------------------------------------------------------------

    @abstractmethod
    async def receive(self) -> Message:
        """The next event for the app."""

    @abstractmethod
    async def send(self, message: Message) -> None:
        """Handle an event from the app."""

    # For the server -------------------------------------------------------------------------------

    def disconnect(self) -> None:
        """The client has disconnected: the app receives `http.disconnect`, its `send` raises."""
        self.gone = True
        self.finish()

    def finish(self) -> None:
        """The response has ended, complete or not."""
        if not self.done.done():
            self.done.set_result(None)
        if self._disconnected is not None and not self._disconnected.done():
            self._disconnected.set_result(None)

    @abstractmethod
    async def ended(self) -> None:
        """The app has returned. Raises `InvalidResponse` if its response is incomplete."""

    async def close(self) -> None:
        """The app has returned or failed: free the exchange's resources."""

    @property
    @abstractmethod
    def status(self) -> int:
        """The response's status; 0 before there is one."""

    @abstractmethod
    async def fail(self, status: int, text: str) -> None:
        """Respond with plain text instead, if nothing has been sent yet."""

    # For subclasses -------------------------------------------------------------------------------

    @property
    def disconnected(self) -> asyncio.Future[None]:
        """Done when the client has disconnected, or the response has ended."""
        if self._disconnected is None:
            self._disconnected = asyncio.get_running_loop().create_future()
            if self.done.done():
                self._disconnected.set_result(None)
        return self._disconnected


class SimpleExchange(Exchange):
    """One HandleSimple call: the whole request in one message, the whole response in another."""

    is_stream = False

    def __init__(self, scope: Scope, body: bytes, node_headers: HeaderMap) -> None:
        super().__init__(scope)
        self.response = Response(scope["method"])
        self._body: bytes | None = body
        self._node_headers = node_headers
        self._chunks: list[bytes] = []
        self._size = 0
        self._cut: asyncio.TimerHandle | None = None
        """When to end a stream of events."""

    @property
    def status(self) -> int:
        return self.response.status

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await asyncio.wait([self.disconnected])
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.gone:
            raise ClientDisconnected
        body = self.response.take(message)
        if body:
            self._size += len(body)
            if self._size > MAX_RESPONSE_BYTES:
                raise InvalidResponse(
                    f"the response has more than {MAX_RESPONSE_BYTES} bytes, which the node holds in memory "
                    "over HTTP/1: use HTTP/2, or request less at once"
                )
            self._chunks.append(body)
        if self.response.phase is Phase.COMPLETE:
            self.finish()
        elif self._is_event_source():
            self._cut_soon()

    async def ended(self) -> None:
        if not self.gone:
            self.response.check_complete()

    async def fail(self, status: int, text: str) -> None:
        if self.done.done():
            return
        # Nothing has been sent to the client, even if the app has begun its response.
        self.response = Response(self.scope["method"])
        self._chunks.clear()
        self._size = 0
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": f"{text}\n".encode()})

    def result(self) -> http_pb2.HandleSimpleHTTPResponse:
        """The response for the node, once the exchange is done.

        Go VMs send a 500 as a gRPC error. The node accepts both.
        """
        if self.response.phase is Phase.NOTHING:
            return http_pb2.HandleSimpleHTTPResponse(code=503, body=b"the chain is shutting down\n")
        headers = dict(self.response.headers)
        if self.response.has_body:
            headers.pop("Content-Length", None)  # The node computes it.
        headers.update(trailer_keys(self.response.trailers))
        return http_pb2.HandleSimpleHTTPResponse(
            code=self.response.status,
            headers=to_wire(merge(self._node_headers, headers), http_pb2.Element),
            body=b"".join(self._chunks),
        )

    def finish(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
        super().finish()

    def _is_event_source(self) -> bool:
        """Whether this is a stream of events for a browser's EventSource."""
        kind = self.response.headers.get("Content-Type", [""])[0]
        if not kind.startswith(_EVENT_STREAM) or self.scope["method"] != "GET":
            return False
        return (b"accept", _EVENT_STREAM.encode()) in self.scope["headers"]

    def _cut_soon(self) -> None:
        """Schedule the end of the stream: soon after its first event, or later if there is none."""
        loop = asyncio.get_running_loop()
        at = loop.time() + (EVENTS_LINGER_S if self._chunks else EVENTS_WAIT_S)
        if self._cut is None or at < self._cut.when():
            if self._cut is not None:
                self._cut.cancel()
            self._cut = loop.call_at(at, self.disconnect)


class StreamedExchange(Exchange):
    """One Handle call that is not a WebSocket: request and response arrive part by part."""

    is_stream = True

    def __init__(
        self,
        scope: Scope,
        node: ResponseChannel,
        body: NodeReader | bytes,
        stream: ResponseStream,
    ) -> None:
        """*body* is bytes if it came with the request."""
        super().__init__(scope)
        self._node = node
        self._body: NodeReader | bytes | None = body
        self._stream = stream
        self._reading: asyncio.Future[Chunk] | None = None

    async def receive(self) -> Message:
        if self._body is None:
            await asyncio.wait([self.disconnected])
            return {"type": "http.disconnect"}
        chunk = await self._read(self._body)
        if chunk is None or chunk.failure:
            self._body = None
            self.gone = True
            return {"type": "http.disconnect"}
        if chunk.is_end:
            self._body = None
        return {"type": "http.request", "body": chunk.data, "more_body": not chunk.is_end}

    async def send(self, message: Message) -> None:
        if self.gone:
            raise ClientDisconnected
        try:
            await self._stream.take(message)
        except ClientDisconnected:
            self.disconnect()
            raise
        if self._stream.is_complete:
            self.finish()

    async def ended(self) -> None:
        if not self.gone:
            self._stream.response.check_complete()

    @property
    def status(self) -> int:
        return self._stream.response.status

    async def fail(self, status: int, text: str) -> None:
        if not self.done.done():
            await self._stream.fail(status, text)

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        await self._node.close()

    async def _read(self, body: NodeReader | bytes) -> Chunk | None:
        """The next part of the body; None if the client has disconnected."""
        if isinstance(body, bytes):
            return Chunk(body, True, "")
        # If an app cancels its `receive` and calls it again, what was read must not be lost.
        if self._reading is None:
            self._reading = asyncio.ensure_future(body.read(READ_BYTES))
        waited: list[asyncio.Future[Any]] = [self._reading, self.disconnected]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not self._reading.done():
            return None
        reading, self._reading = self._reading, None
        try:
            return reading.result()
        except (grpc.aio.AioRpcError, asyncio.CancelledError):
            return None
