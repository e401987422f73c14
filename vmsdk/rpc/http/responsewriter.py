"""The node's `http.responsewriter.Writer`: where a response goes while it is being made."""

from __future__ import annotations

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.http.responsewriter import responsewriter_pb2
from vmsdk._pb.http.responsewriter.responsewriter_grpc import Writer
from vmsdk.protocol import Protocol
from vmsdk.rpc.http.headers import HeaderMap, to_wire
from vmsdk.rpc.http.nodechannel import dial, unary
from vmsdk.rpc.http.reader import NodeReader


class ResponseChannel:
    """The server that the node runs for one Handle call."""

    def __init__(self, address: str, protocol: Protocol) -> None:
        self._channel = dial(address)
        self.writer = ResponseWriter(self._channel)
        self.body = NodeReader(self._channel, protocol)
        """The request's body, from protocol 40 on."""

    async def close(self) -> None:
        """Let go of it. Calls that are under way are cancelled."""
        await self._channel.close()


class ResponseWriter:
    """One request's writer. Every method raises `grpc.aio.AioRpcError` when the client or the node is gone.

    The node takes the headers of each call in place of those it had; once a status was sent they only
    matter for trailers.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._write_header = unary(channel, Writer.WriteHeader)
        self._write = unary(channel, Writer.Write)
        self._flush = unary(channel, Writer.Flush)
        self._hijack = unary(channel, Writer.Hijack)

    async def write_header(self, status: int, headers: HeaderMap) -> None:
        """Send the status and the headers. Only the first call counts, and none after a `write`."""
        wire = to_wire(headers, responsewriter_pb2.Header)
        await self._write_header(responsewriter_pb2.WriteHeaderRequest(headers=wire, status_code=status))

    async def write(self, headers: HeaderMap, payload: bytes) -> None:
        """Send a part of the body, after the status 200 if none was sent; waits for a slow client."""
        wire = to_wire(headers, responsewriter_pb2.Header)
        await self._write(responsewriter_pb2.WriteRequest(headers=wire, payload=payload))

    async def flush(self) -> None:
        """Send now what the node still buffers."""
        await self._flush(Empty())

    async def hijack(self) -> str:
        """Take over the client's connection, of HTTP/1; returns the address of its server."""
        return (await self._hijack(Empty())).server_addr
