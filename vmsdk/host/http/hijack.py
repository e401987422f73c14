"""Connections that VMs have taken over, served as `net.conn.Conn` with its buffered reader and
writer.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable
from typing import Any

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.io.reader.reader_grpc import Reader
from vmsdk._pb.io.writer import writer_pb2
from vmsdk._pb.io.writer.writer_grpc import Writer
from vmsdk._pb.net.conn import conn_pb2
from vmsdk._pb.net.conn.conn_grpc import Conn
from vmsdk.host.http.connection import Connection, Deadline, IOFailed
from vmsdk.host.http.loopback import AsyncLoopbackServer, read_response
from vmsdk.protocol import Protocol

# Go's `time.Time.MarshalBinary`: the length by version. Source: time/time.go.
_TIME_BYTES = {1: 15, 2: 16}
_UNIX_EPOCH_S = 62_135_596_800
"""In seconds since the year 1."""


class HijackedConnections:
    """The connections that one chain has taken over and not closed yet."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._connections: set[HijackedConnection] = set()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._connections)

    async def serve(self, raw: Connection, read_ahead: bytes) -> str:
        """Serve one more connection; returns the address of its server. Raises `IOFailed`."""
        if self._is_closed:
            raw.close()
            raise IOFailed("the chain has stopped")
        try:
            connection = HijackedConnection(raw, read_ahead, self._protocol, self._connections.discard)
            self._connections.add(connection)
            await connection.server.start()
        except RuntimeError as error:  # Out of ports or descriptors.
            raw.close()
            raise IOFailed(str(error)) from None
        return connection.server.address

    async def close(self) -> None:
        """Close all connections, and refuse new ones."""
        self._is_closed = True
        await asyncio.gather(*(connection.stop() for connection in list(self._connections)))


class HijackedConnection:
    """One connection and its server, which stops when the connection is closed."""

    def __init__(
        self,
        raw: Connection,
        read_ahead: bytes,
        protocol: Protocol,
        on_stop: Callable[[HijackedConnection], None],
    ) -> None:
        self._raw = raw
        self._read_ahead = read_ahead
        self._protocol = protocol
        self._on_stop = on_stop
        self._stopping: asyncio.Task[None] | None = None
        read, write = raw.read_deadline, raw.write_deadline
        self.server = AsyncLoopbackServer(
            {
                Conn: {
                    "Read": self.read,
                    "Write": self.write,
                    "Close": self.close,
                    "SetDeadline": lambda request: _set_deadlines(request, read, write),
                    "SetReadDeadline": lambda request: _set_deadlines(request, read),
                    "SetWriteDeadline": lambda request: _set_deadlines(request, write),
                },
                Reader: {"Read": self.read_buffered},
                Writer: {"Write": self.write_buffered},
            }
        )

    async def read(self, request: conn_pb2.ReadRequest) -> Any:
        """Read from the connection itself, skipping what the HTTP server has read ahead."""
        return await read_response(Conn.Read.response, self._raw.read, request.length, self._protocol)

    async def write(self, request: conn_pb2.WriteRequest) -> conn_pb2.WriteResponse:
        """Raises `IOFailed`."""
        return conn_pb2.WriteResponse(length=await self._raw.write(request.payload))

    async def close(self, request: Empty) -> Empty:
        """Close the connection and stop the server, even this call: its response may be lost."""
        self._raw.close()
        self._stopping = asyncio.ensure_future(self.stop())
        return Empty()

    async def read_buffered(self, request: Any) -> Any:
        """Read, beginning with what the HTTP server has read ahead."""
        return await read_response(Reader.Read.response, self._read_buffered, request.length, self._protocol)

    async def _read_buffered(self, limit: int) -> bytes:
        if not self._read_ahead:
            return await self._raw.read(limit)
        data, self._read_ahead = self._read_ahead[:limit], self._read_ahead[limit:]
        return data

    async def write_buffered(self, request: writer_pb2.WriteRequest) -> writer_pb2.WriteResponse:
        """Drop the bytes: a node writes them to a buffer that it never flushes."""
        return writer_pb2.WriteResponse(written=len(request.payload))

    async def stop(self) -> None:
        """Close the connection and stop the server. Idempotent."""
        self._raw.close()
        await self.server.stop()
        self._on_stop(self)


async def _set_deadlines(request: conn_pb2.SetDeadlineRequest, *deadlines: Deadline) -> Empty:
    """Go's zero time clears them."""
    unix_s = _unix_s(request.time)
    for deadline in deadlines:
        deadline.set_after(None if unix_s is None else unix_s - time.time())
    return Empty()


def _unix_s(data: bytes) -> float | None:
    """Decode Go's binary form of a time; None for Go's zero time. Raises `ValueError`.

    1 byte version, 8 bytes seconds since the year 1, 4 bytes nanoseconds, big-endian and signed.
    The time zone that follows (2 bytes, 3 in version 2) does not matter.
    """
    if not data or len(data) != _TIME_BYTES.get(data[0]):
        raise ValueError("Time.UnmarshalBinary: unsupported version or invalid length")
    seconds, nanos = struct.unpack_from(">qi", data, 1)
    return None if seconds == nanos == 0 else seconds - _UNIX_EPOCH_S + nanos / 1e9
