"""The small gRPC servers that a node starts for one request or one connection."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.http.responsewriter import responsewriter_pb2
from vmsdk._pb.http.responsewriter.responsewriter_grpc import Writer
from vmsdk._pb.io.reader import reader_pb2
from vmsdk._pb.io.reader.reader_grpc import Reader
from vmsdk._pb.net.conn import conn_pb2
from vmsdk._pb.net.conn.conn_grpc import Conn
from vmsdk.protocol import Protocol
from vmsdk.rpc.http.headers import HeaderMap, to_wire
from vmsdk.services.channel import CHANNEL_OPTIONS, target

CLOSE_TIMEOUT_S = 2.0

# Source: errEOF of vms/rpcchainvm's greader (the text of io.EOF), the sign of the end until
# protocol 41.
_EOF_TEXT = b"EOF"


class ClientDisconnected(ConnectionError):
    """The client has disconnected, so nothing can be sent (an `OSError`, as ASGI 2.4 requires)."""

    def __init__(self) -> None:
        super().__init__("the client has disconnected")


def _dial(address: str) -> grpc.aio.Channel:
    """A channel to `host:port`, which connects at its first call.

    Calls fail if no server listens, unlike those to the node's lasting servers: the node starts
    these before it sends their address, and stops them when the client disconnects.
    """
    return grpc.aio.insecure_channel(target(address), options=CHANNEL_OPTIONS)


class Chunk(NamedTuple):
    """The result of one read."""

    data: bytes
    """There may be some together with an end or a failure."""
    is_end: bool
    """Nothing follows."""
    failure: str
    """Why nothing follows; empty at an orderly end."""


class NodeReader:
    """An `io.reader.Reader`: a request's body, or what a hijacked connection receives."""

    def __init__(self, channel: grpc.aio.Channel, protocol: Protocol) -> None:
        self._read = Reader.Read.on(channel)
        self._text_errors = protocol.text_io_errors

    async def read(self, length: int) -> Chunk:
        """1 to *length* bytes, or the end. A cancelled read may lose bytes.

        Raises `grpc.aio.AioRpcError` if the server is gone.
        """
        response = await self._read(reader_pb2.ReadRequest(length=length))
        if not response.HasField("error"):
            return Chunk(response.read, False, "")
        return Chunk(response.read, True, self._failure(response.error))

    def _failure(self, error: bytes) -> str:
        if self._text_errors:
            return "" if error == _EOF_TEXT else error.decode(errors="replace") or "unknown error"
        parsed = reader_pb2.Error.FromString(error)
        return "" if parsed.error_code == reader_pb2.ERROR_CODE_EOF else parsed.message or "unknown error"


class ResponseChannel:
    """The server of one Handle call: its `http.responsewriter.Writer`, and the request's body.

    Raises `grpc.aio.AioRpcError` when the client or the node is gone. The headers of each call
    replace those of the call before; after the status they only matter for trailers.
    """

    def __init__(self, address: str, protocol: Protocol) -> None:
        self._channel = _dial(address)
        self._write_header = Writer.WriteHeader.on(self._channel)
        self._write = Writer.Write.on(self._channel)
        self._flush = Writer.Flush.on(self._channel)
        self._hijack = Writer.Hijack.on(self._channel)
        self.body = NodeReader(self._channel, protocol)
        """The request's body, since protocol 40."""

    async def write_header(self, status: int, headers: HeaderMap) -> None:
        """Send the status and the headers. Only the first call counts, and none after a `write`."""
        wire = to_wire(headers, responsewriter_pb2.Header)
        await self._write_header(responsewriter_pb2.WriteHeaderRequest(headers=wire, status_code=status))

    async def write(self, headers: HeaderMap, payload: bytes) -> None:
        """Send a part of the body, after status 200 if none was sent. Waits for a slow client."""
        wire = to_wire(headers, responsewriter_pb2.Header)
        await self._write(responsewriter_pb2.WriteRequest(headers=wire, payload=payload))

    async def flush(self) -> None:
        """Send what the node still buffers."""
        await self._flush(Empty())

    async def hijack(self) -> str:
        """Take over the client's HTTP/1 connection; returns the address of its server."""
        return (await self._hijack(Empty())).server_addr

    async def close(self) -> None:
        """Disconnect. Calls in flight are cancelled."""
        await self._channel.close()


class HijackedConnection:
    """The server of one hijacked client connection. It outlives the Handle call that hijacked it.

    Used as the node's own plugins use it: `io.reader.Reader` first returns what the node had
    already read from the socket, and `net.conn.Conn` writes without a buffer that would never be
    flushed.
    """

    def __init__(self, address: str, protocol: Protocol) -> None:
        self._channel = _dial(address)
        self._reader = NodeReader(self._channel, protocol)
        self._write = Conn.Write.on(self._channel)
        self._close = Conn.Close.on(self._channel)
        self._closed = False

    async def read(self, length: int) -> Chunk:
        """What the client sends next. Raises `ClientDisconnected` if client or node are gone."""
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
            # The node stops that server while it responds, so the response may be lost.
            await asyncio.wait_for(self._close(Empty()), CLOSE_TIMEOUT_S)
        except (grpc.aio.AioRpcError, asyncio.TimeoutError):
            pass
        finally:
            # A write in flight fails now. Cancelling it would cancel the app.
            await self._channel.close(CLOSE_TIMEOUT_S)
