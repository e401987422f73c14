"""Handle: a request whose body arrives while the app runs, and a response that goes as it is made."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import grpc

from vmsdk.http.asgi import Message, Scope
from vmsdk.rpc.http.exchange import ClientDisconnected, Exchange
from vmsdk.rpc.http.reader import Chunk, NodeReader
from vmsdk.rpc.http.responsewriter import ResponseChannel
from vmsdk.rpc.http.stream import ResponseStream
from vmsdk.rpc.priority import EnginePriority

# One call a read: large enough that 8 MiB are few calls, small enough to be nothing in memory.
READ_BYTES = 256 * 1024


class Body(Protocol):
    """Where a request's body comes from."""

    async def read(self, length: int) -> Chunk:
        """The next part, of at most *length* bytes."""


class InlineBody:
    """A body that came with the request: every one until protocol 39, and an empty one."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self, length: int) -> Chunk:
        return Chunk(self._data, True, "")


class StreamedExchange(Exchange):
    """One Handle call of kind `http`."""

    is_stream = True

    def __init__(
        self,
        scope: Scope,
        node: ResponseChannel,
        body: NodeReader | InlineBody,
        stream: ResponseStream,
        priority: EnginePriority,
    ) -> None:
        super().__init__(scope)
        self._priority = priority
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
        self._priority.give_way()
        try:
            with self._priority.at_work():
                await self._stream.take(message)
        except ClientDisconnected:
            self.disconnect()
            raise
        if self._stream.is_complete:
            self.finish()

    async def ended(self) -> None:
        if not self.gone:
            self._stream.response.check_complete()

    async def fail(self, status: int, text: str) -> None:
        if not self.done.done():
            await self._stream.fail(status, text)

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        await self._node.close()

    async def _read(self, body: Body) -> Chunk | None:
        """The next part of the body; None if the client left meanwhile."""
        if isinstance(body, InlineBody):
            return await body.read(READ_BYTES)
        # An app may give up a wait and come back: what the read brings must not be lost with it.
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
