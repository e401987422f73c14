"""The node's `io.reader.Reader`: a request's body, or what a hijacked connection receives."""

from __future__ import annotations

from typing import NamedTuple

import grpc

from vmsdk._pb.io.reader import reader_pb2
from vmsdk._pb.io.reader.reader_grpc import Reader
from vmsdk.protocol import Protocol
from vmsdk.rpc.http.nodechannel import unary

# Source: errEOF of vms/rpcchainvm's greader (io.EOF's text), the only way to tell it until protocol 41.
_EOF_TEXT = b"EOF"


class Chunk(NamedTuple):
    """What one read gave."""

    data: bytes
    """Valid also beside an end or a failure."""
    is_end: bool
    """Nothing follows."""
    failure: str
    """Why nothing follows, unless it is the orderly end; else empty."""


class NodeReader:
    """Reads from one such server."""

    def __init__(self, channel: grpc.aio.Channel, protocol: Protocol) -> None:
        self._read = unary(channel, Reader.Read)
        self._text_errors = protocol.text_io_errors

    async def read(self, length: int) -> Chunk:
        """1 to *length* bytes, or the end. A read that is cancelled may take bytes with it.

        Raises `grpc.aio.AioRpcError` if the server is gone.
        """
        response = await self._read(reader_pb2.ReadRequest(length=length))
        if not response.HasField("error"):
            return Chunk(response.read, False, "")
        return Chunk(response.read, True, self._failure(response.error))

    def _failure(self, error: bytes) -> str:
        if self._text_errors:
            return "" if error == _EOF_TEXT else error.decode(errors="replace") or "unknown error"
        told = reader_pb2.Error.FromString(error)
        return "" if told.error_code == reader_pb2.ERROR_CODE_EOF else told.message or "unknown error"
