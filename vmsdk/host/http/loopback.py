"""gRPC servers on the event loop, which a VM calls while it handles HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import grpc.aio
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb._service import Method, Service
from vmsdk._pb.http.responsewriter import responsewriter_pb2
from vmsdk._pb.net.conn import conn_pb2
from vmsdk.host.http import header
from vmsdk.host.http.connection import Connection, DeadlineExceeded, IOFailed
from vmsdk.host.http.response import ResponseWriter, valid_status
from vmsdk.host.service import SERVER_OPTIONS
from vmsdk.protocol import Protocol

log = logging.getLogger(__name__)

Function: TypeAlias = Callable[[Any], Awaitable[Any]]
"""From a method's request to its response."""

Services: TypeAlias = dict[type[Service], Mapping[str, Function]]
"""Functions by service and method name."""

TakeOver: TypeAlias = Callable[[Connection, bytes], Awaitable[str]]
"""Serves a connection that the VM takes over, and bytes read ahead; returns the address."""


class AsyncLoopbackServer:
    """Serves *services*. `IOFailed` and `ValueError` become the status UNKNOWN with their text."""

    def __init__(self, services: Services) -> None:
        self._server = grpc.aio.server(options=SERVER_OPTIONS)
        self._server.add_generic_rpc_handlers(
            tuple(
                grpc.method_handlers_generic_handler(
                    service.full_name,
                    {name: _handler(service.methods[name], call) for name, call in methods.items()},
                )
                for service, methods in services.items()
            )
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        """host:port."""

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        """Stop at once, cancelling running calls. Idempotent."""
        await self._server.stop(None)


def _handler(method: Method[Any, Any], function: Function) -> grpc.RpcMethodHandler[Any, Any]:
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await function(request)
        except (IOFailed, ValueError) as error:
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))

    return method.handler(call)


async def read_response(
    response: Any, read: Callable[[int], Awaitable[bytes]], length: int, protocol: Protocol
) -> Any:
    """Read once, up to *length* bytes, for a *response* class of `io.reader.Reader` or
    `net.conn.Conn`.

    Both have the same fields and error codes. How an error is encoded depends on the protocol.
    """
    if length < 0:
        raise ValueError(f"makeslice: len out of range: a read of {length} bytes would crash a node")
    error = conn_pb2.Error()
    try:
        data = await read(length)
    except IOFailed as failure:
        error.message = str(failure)
        if isinstance(failure, DeadlineExceeded) and response is conn_pb2.ReadResponse:
            error.error_code = conn_pb2.ERROR_CODE_OS_ERR_DEADLINE_EXCEEDED
    else:
        if data or not length:
            return response(read=data)
        error.message, error.error_code = "EOF", conn_pb2.ERROR_CODE_EOF
    return response(error=error.message.encode() if protocol.text_io_errors else error.SerializeToString())


class ResponseWriterService:
    """`http.responsewriter.Writer` for one request. Like a node's, it serves one call at a time."""

    def __init__(self, writer: ResponseWriter, take_over: TakeOver) -> None:
        self._writer = writer
        self._take_over = take_over
        self._lock = asyncio.Lock()
        self._is_header_written = False

    async def WriteHeader(self, request: responsewriter_pb2.WriteHeaderRequest) -> Empty:
        """Only the first call counts, even with an informational status."""
        async with self._lock:
            header.replace(self._writer.header, request.headers)
            if not self._is_header_written:
                self._is_header_written = True
                await self._writer.write_header(valid_status(request.status_code))
        return Empty()

    async def Write(self, request: responsewriter_pb2.WriteRequest) -> responsewriter_pb2.WriteResponse:
        """Raises `IOFailed`."""
        async with self._lock:
            header.replace(self._writer.header, request.headers)
            self._is_header_written = True
            return responsewriter_pb2.WriteResponse(written=await self._writer.write(request.payload))

    async def Flush(self, request: Empty) -> Empty:
        """Send what is buffered."""
        async with self._lock:
            try:
                await self._writer.flush()
            except IOFailed as error:
                log.debug("%s", error)  # Go's Flush returns no error.
        return Empty()

    async def Hijack(self, request: Empty) -> responsewriter_pb2.HijackResponse:
        """Raises `IOFailed` if the connection can't be taken over."""
        async with self._lock:
            connection, read_ahead = await self._writer.hijack()
        address = await self._take_over(connection, read_ahead)
        return responsewriter_pb2.HijackResponse(
            local_network="tcp",
            local_string=connection.local,
            remote_network="tcp",
            remote_string=connection.remote,
            server_addr=address,
        )

    async def settle(self) -> None:
        """Wait for a call that is running."""
        async with self._lock:
            pass
