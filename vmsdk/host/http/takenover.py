"""The servers of connections that VMs have taken over: `net.conn.Conn` and its buffered ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from google.protobuf.empty_pb2 import Empty

from vmsdk import gotime
from vmsdk._pb.io.reader.reader_grpc import Reader
from vmsdk._pb.io.writer import writer_pb2
from vmsdk._pb.io.writer.writer_grpc import Writer
from vmsdk._pb.net.conn import conn_pb2
from vmsdk._pb.net.conn.conn_grpc import Conn
from vmsdk.host.http import reading
from vmsdk.host.http.failures import IOFailed
from vmsdk.host.http.hijacked import Hijacked
from vmsdk.host.http.loopback import LoopbackServer
from vmsdk.protocol import Protocol
from vmsdk.timestamp import Timestamp


class TakenOver:
    """All taken-over connections of one chain. A node forgets none of them before the VM closes it."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._connections: set[TakenOverConnection] = set()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._connections)

    async def serve(self, hijacked: Hijacked) -> str:
        """Serve one more connection; returns the address of its server."""
        if self._is_closed:
            hijacked.connection.close()
            raise IOFailed("the chain is gone")
        try:
            connection = TakenOverConnection(hijacked, self._protocol, self._connections.discard)
            self._connections.add(connection)
            await connection.server.start()
        except RuntimeError as error:  # No port or no descriptor is left.
            hijacked.connection.close()
            raise IOFailed(str(error)) from None
        return connection.server.address

    async def close(self) -> None:
        """Close all of them, and each that may still come."""
        self._is_closed = True
        await asyncio.gather(*(connection.stop() for connection in list(self._connections)))


class TakenOverConnection:
    """One connection with its server, that ends with the connection."""

    def __init__(
        self, hijacked: Hijacked, protocol: Protocol, forget: Callable[[TakenOverConnection], None]
    ) -> None:
        self._hijacked = hijacked
        self._raw = hijacked.connection
        self._protocol = protocol
        self._forget = forget
        self._stopping: asyncio.Task[None] | None = None
        self.server = LoopbackServer(
            {
                Conn: {
                    "Read": self.read,
                    "Write": self.write,
                    "Close": self.close,
                    "SetDeadline": self.set_deadline,
                    "SetReadDeadline": self.set_read_deadline,
                    "SetWriteDeadline": self.set_write_deadline,
                },
                Reader: {"Read": self.read_buffered},
                Writer: {"Write": self.write_buffered},
            }
        )

    async def read(self, request: conn_pb2.ReadRequest) -> conn_pb2.ReadResponse:
        """Straight from the connection, past what the HTTP server has read already."""
        return await reading.from_connection(self._raw.read, request.length, self._protocol)

    async def write(self, request: conn_pb2.WriteRequest) -> conn_pb2.WriteResponse:
        """Raises `IOFailed`."""
        return conn_pb2.WriteResponse(length=await self._raw.write(request.payload))

    async def close(self, request: Empty) -> Empty:
        """Close the connection and stop the server, this very call included: its answer may be lost."""
        self._raw.close()
        self._stopping = asyncio.ensure_future(self.stop())
        return Empty()

    async def set_deadline(self, request: conn_pb2.SetDeadlineRequest) -> Empty:
        """Raises `ValueError` for what is no time of Go's."""
        moment = _unix_s(request.time)
        self._raw.read_deadline.set_at(moment)
        self._raw.write_deadline.set_at(moment)
        return Empty()

    async def set_read_deadline(self, request: conn_pb2.SetDeadlineRequest) -> Empty:
        """Raises like `set_deadline`."""
        self._raw.read_deadline.set_at(_unix_s(request.time))
        return Empty()

    async def set_write_deadline(self, request: conn_pb2.SetDeadlineRequest) -> Empty:
        """Raises like `set_deadline`."""
        self._raw.write_deadline.set_at(_unix_s(request.time))
        return Empty()

    async def read_buffered(self, request: Any) -> Any:
        """First what the HTTP server has read already."""
        return await reading.from_reader(self._hijacked.read_buffered, request.length, self._protocol)

    async def write_buffered(self, request: writer_pb2.WriteRequest) -> writer_pb2.WriteResponse:
        """A failure is told in the answer."""
        try:
            return writer_pb2.WriteResponse(written=await self._hijacked.write_buffered(request.payload))
        except IOFailed as error:
            return writer_pb2.WriteResponse(error=str(error))

    async def stop(self) -> None:
        """Close the connection and stop the server. Harmless when repeated."""
        self._raw.close()
        await self.server.stop()
        self._forget(self)


def _unix_s(data: bytes) -> float | None:
    """The moment in seconds since 1970; None for Go's zero time, which means no deadline."""
    timestamp = gotime.decode(data).timestamp
    return None if timestamp == Timestamp.ZERO else timestamp.seconds + timestamp.nanos / 1e9
