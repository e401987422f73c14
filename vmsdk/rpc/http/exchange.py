"""One request on its way through an app, for each of the node's two ways to forward one."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import grpc

from vmsdk._pb.http import http_pb2
from vmsdk.http.asgi import Message, Scope
from vmsdk.rpc.http.headers import HeaderMap, merge, to_wire, trailer_keys
from vmsdk.rpc.http.nodeservers import Chunk, ClientDisconnected, NodeReader, ResponseChannel
from vmsdk.rpc.http.response import InvalidResponse, Phase, Response, ResponseStream

MAX_RESPONSE_BYTES = 256 * 1024 * 1024
"""Limits HandleSimple calls, whose response is one message, held in memory on both sides."""

# Over HTTP/1, a browser's EventSource gets nothing before its response ends, and reconnects when it
# does. So the response ends soon after the first event, or before proxies time out.
EVENTS_LINGER_S = 0.1
EVENTS_WAIT_S = 25.0
_EVENT_STREAM = "text/event-stream"

# One call per read: large enough that 8 MiB take few calls, small enough not to matter in memory.
READ_BYTES = 256 * 1024


class Exchange(ABC):
    """A request and its response. The app calls `receive` and `send`, the server all else."""

    is_stream: ClassVar[bool]
    """Whether it may last long, with its own connections to the node."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.gone = False
        """Whether the client has left."""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the response is complete or given up. The app may run background tasks on."""
        self._left: asyncio.Future[None] | None = None

    # For the app ----------------------------------------------------------------------------------

    @abstractmethod
    async def receive(self) -> Message:
        """The next event for the app."""

    @abstractmethod
    async def send(self, message: Message) -> None:
        """Take an event of the app."""

    # For the server -------------------------------------------------------------------------------

    def disconnect(self) -> None:
        """The client has left: the app receives `http.disconnect`, and its `send` raises."""
        self.gone = True
        self.finish()

    def finish(self) -> None:
        """The response has ended, one way or another."""
        if not self.done.done():
            self.done.set_result(None)
        if self._left is not None and not self._left.done():
            self._left.set_result(None)

    @abstractmethod
    async def ended(self) -> None:
        """The app has returned. Raises `InvalidResponse` if its response is unfinished."""

    async def close(self) -> None:
        """The app has ended or failed: free what the exchange holds."""

    @property
    @abstractmethod
    def status(self) -> int:
        """The response's status; 0 before there is one."""

    @abstractmethod
    async def fail(self, status: int, text: str) -> None:
        """Respond with a plain text instead, if nothing was sent yet."""

    # For subclasses -------------------------------------------------------------------------------

    @property
    def left(self) -> asyncio.Future[None]:
        """Done when the client has left."""
        if self._left is None:
            self._left = asyncio.get_running_loop().create_future()
            if self.done.done():
                self._left.set_result(None)
        return self._left

    async def _until_left(self) -> None:
        await asyncio.wait([self.left])


class SimpleExchange(Exchange):
    """One HandleSimple call: the whole request at once, and the whole response at once."""

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
        await self._until_left()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.gone:
            raise ClientDisconnected
        body = self.response.take(message)
        if body:
            self._size += len(body)
            if self._size > MAX_RESPONSE_BYTES:
                raise InvalidResponse(
                    f"the response has more than {MAX_RESPONSE_BYTES} bytes, which the node holds "
                    "in memory over "
                    "HTTP/1: ask over HTTP/2, or for less at once"
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
        # The client has nothing yet, even if the app has begun.
        self.response = Response(self.scope["method"])
        self._chunks.clear()
        self._size = 0
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": f"{text}\n".encode()})

    def result(self) -> http_pb2.HandleSimpleHTTPResponse:
        """The response for the node, once the exchange is done.

        Go VMs send a 500 as an error of gRPC. The node accepts both.
        """
        if self.response.phase is Phase.NOTHING:
            return http_pb2.HandleSimpleHTTPResponse(code=503, body=b"the chain is shutting down\n")
        headers = dict(self.response.headers)
        if self.response.has_body:
            headers.pop("Content-Length", None)  # The node counts for itself.
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
        """Set the end of the stream: soon after its first event, and late if there is none."""
        loop = asyncio.get_running_loop()
        at = loop.time() + (EVENTS_LINGER_S if self._chunks else EVENTS_WAIT_S)
        if self._cut is None or at < self._cut.when():
            if self._cut is not None:
                self._cut.cancel()
            self._cut = loop.call_at(at, self.disconnect)


class Body(Protocol):
    """Where a request's body comes from."""

    async def read(self, length: int) -> Chunk:
        """The next part, of at most *length* bytes."""


class InlineBody:
    """A body that came with the request: each one until protocol 39, later only an empty one."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self, length: int) -> Chunk:
        return Chunk(self._data, True, "")


class StreamedExchange(Exchange):
    """One Handle call that is not a WebSocket: request and response arrive part by part."""

    is_stream = True

    def __init__(
        self,
        scope: Scope,
        node: ResponseChannel,
        body: NodeReader | InlineBody,
        stream: ResponseStream,
    ) -> None:
        super().__init__(scope)
        self._node = node
        self._body: Body | None = body
        self._stream = stream
        self._reading: asyncio.Future[Chunk] | None = None

    async def receive(self) -> Message:
        if self._body is None:
            await self._until_left()
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

    async def _read(self, body: Body) -> Chunk | None:
        """The next part of the body; None if the client has left."""
        if isinstance(body, InlineBody):
            return await body.read(READ_BYTES)
        # An app may cancel its wait and come back: the result of the read must not be lost with it.
        if self._reading is None:
            self._reading = asyncio.ensure_future(body.read(READ_BYTES))
        waited: list[asyncio.Future[Any]] = [self._reading, self.left]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not self._reading.done():
            return None
        reading, self._reading = self._reading, None
        try:
            return reading.result()
        except (grpc.aio.AioRpcError, asyncio.CancelledError):
            return None
