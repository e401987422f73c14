"""A client's connection that the node has handed over: bytes in, bytes out."""

from __future__ import annotations

import asyncio

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.net.conn import conn_pb2
from vmsdk._pb.net.conn.conn_grpc import Conn
from vmsdk.protocol import Protocol
from vmsdk.rpc.http.exchange import ClientDisconnected
from vmsdk.rpc.http.nodechannel import dial, unary
from vmsdk.rpc.http.reader import Chunk, NodeReader

CLOSE_TIMEOUT_S = 2.0


class HijackedConnection:
    """The server of one hijacked connection. It outlives the Handle call that hijacked it.

    Read and written as the node's own plugins do it: `io.reader.Reader` first gives what the node had
    already taken from the socket, and `net.conn.Conn` writes without a buffer that nobody flushes.
    """

    def __init__(self, address: str, protocol: Protocol) -> None:
        self._channel = dial(address)
        self._reader = NodeReader(self._channel, protocol)
        self._write = unary(self._channel, Conn.Write)
        self._close = unary(self._channel, Conn.Close)
        self._closed = False

    async def read(self, length: int) -> Chunk:
        """What the client sends next. Raises `ClientDisconnected` if the node or the client is gone."""
        try:
            return await self._reader.read(length)
        except grpc.aio.AioRpcError:
            raise ClientDisconnected from None

    async def write(self, data: bytes) -> None:
        """Send *data*; waits for a slow client. Raises `ClientDisconnected` if it is gone."""
        if self._closed:
            raise ClientDisconnected
        try:
            await self._write(conn_pb2.WriteRequest(payload=data))
        except grpc.aio.AioRpcError:
            raise ClientDisconnected from None

    async def close(self) -> None:
        """Close the client's connection and the channel. Never raises."""
        self._closed = True
        try:
            # The node stops that server while it answers, so the answer may be lost.
            await asyncio.wait_for(self._close(Empty()), CLOSE_TIMEOUT_S)
        except (grpc.aio.AioRpcError, asyncio.TimeoutError):
            pass
        finally:
            # A write that is under way fails now that the connection is closed; to cancel it would cancel the app.
            await self._channel.close(CLOSE_TIMEOUT_S)
