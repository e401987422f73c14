"""`Handle`: the VM reads the request and writes the response through a gRPC server of their own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.http import http_pb2
from vmsdk._pb.http.responsewriter import responsewriter_pb2
from vmsdk._pb.http.responsewriter.responsewriter_grpc import Writer
from vmsdk._pb.io.reader.reader_grpc import Reader
from vmsdk.host.http import header, reading, status
from vmsdk.host.http.backend import Backend
from vmsdk.host.http.failures import IOFailed
from vmsdk.host.http.hijacked import Hijacked
from vmsdk.host.http.loopback import Behaviour, LoopbackServer
from vmsdk.host.http.request import Request
from vmsdk.host.http.response import ResponseWriter
from vmsdk.host.http.simple import valid_code
from vmsdk.protocol import Protocol

log = logging.getLogger(__name__)

TakeOver = Callable[[Hijacked], Awaitable[str]]
"""Serves a connection that a VM has taken over, for longer than the request; returns the address."""


async def serve(
    backend: Backend, request: Request, writer: ResponseWriter, protocol: Protocol, take_over: TakeOver
) -> None:
    """Let the VM answer *request*; cancelled if the client goes away."""
    body = b""
    if protocol.inline_http_body:
        try:
            body = await request.body.read_all()
        except IOFailed as error:
            await writer.error(str(error), 400)
            return
    response_writer = ResponseWriterService(writer, take_over)
    try:
        server = LoopbackServer(_services(response_writer, request, protocol))
        await server.start()
    except RuntimeError as error:  # No port or no descriptor is left.
        await writer.error(str(error), 500)
        return
    try:
        await _call(backend, _message(request, writer, server.address, body), writer, protocol)
        await response_writer.settle()
    except UnicodeEncodeError:
        await writer.error(status.NOT_UTF8, 500)
    finally:
        await server.stop()


async def _call(
    backend: Backend, message: http_pb2.HTTPRequest, writer: ResponseWriter, protocol: Protocol
) -> None:
    try:
        reply = await backend.handle(message)
    except (IOFailed, grpc.aio.AioRpcError) as error:
        await writer.error(status.error_text(error), 500)
        return
    if protocol.replaces_http_headers:
        header.replace(writer.header, reply.header)


def _services(
    response_writer: ResponseWriterService, request: Request, protocol: Protocol
) -> dict[Any, dict[str, Behaviour]]:
    async def read(message: Any) -> Any:
        return await reading.from_reader(request.body.read, message.length, protocol)

    services: dict[Any, dict[str, Behaviour]] = {Writer: response_writer.behaviours()}
    if not protocol.inline_http_body:
        services[Reader] = {"Read": read}
    return services


class ResponseWriterService:
    """`http.responsewriter.Writer` for one request. One call at a time, like the node's locked writer."""

    def __init__(self, writer: ResponseWriter, take_over: TakeOver) -> None:
        self._writer = writer
        self._take_over = take_over
        self._lock = asyncio.Lock()
        self._is_header_written = False

    def behaviours(self) -> dict[str, Behaviour]:
        """Its methods by name."""
        return {
            "WriteHeader": self.write_header,
            "Write": self.write,
            "Flush": self.flush,
            "Hijack": self.hijack,
        }

    async def write_header(self, request: responsewriter_pb2.WriteHeaderRequest) -> Empty:
        """Only the first one counts, an informational one included."""
        async with self._lock:
            header.replace(self._writer.header, request.headers)
            if not self._is_header_written:
                self._is_header_written = True
                await self._swallow(self._writer.write_header(valid_code(request.status_code)))
        return Empty()

    async def write(self, request: responsewriter_pb2.WriteRequest) -> responsewriter_pb2.WriteResponse:
        """Raises `IOFailed`."""
        async with self._lock:
            header.replace(self._writer.header, request.headers)
            self._is_header_written = True
            return responsewriter_pb2.WriteResponse(written=await self._writer.write(request.payload))

    async def flush(self, request: Empty) -> Empty:
        """Send what is buffered."""
        async with self._lock:
            await self._swallow(self._writer.flush())
        return Empty()

    async def hijack(self, request: Empty) -> responsewriter_pb2.HijackResponse:
        """Raises `IOFailed` if the connection can't be taken over."""
        async with self._lock:
            hijacked = await self._writer.hijack()
        address = await self._take_over(hijacked)
        return responsewriter_pb2.HijackResponse(
            local_network="tcp",
            local_string=hijacked.connection.local,
            remote_network="tcp",
            remote_string=hijacked.connection.remote,
            server_addr=address,
        )

    async def settle(self) -> None:
        """Wait until a call that has begun is through."""
        async with self._lock:
            pass

    @staticmethod
    async def _swallow(work: Awaitable[None]) -> None:
        try:
            await work
        except IOFailed as error:
            log.debug("%s", error)  # As in Go, where these methods return nothing.


def _message(request: Request, writer: ResponseWriter, address: str, body: bytes) -> http_pb2.HTTPRequest:
    return http_pb2.HTTPRequest(
        response_writer=http_pb2.ResponseWriter(header=header.elements(writer.header), server_addr=address),
        request=http_pb2.Request(
            method=request.method,
            url=_url(request),
            proto=request.version,
            proto_major=request.major,
            proto_minor=request.minor,
            header=header.elements(request.header),
            body=body,
            content_length=request.content_length,
            transfer_encoding=request.transfer_encoding,
            host=request.host,
            remote_addr=request.remote_address,
            request_uri=request.target,
        ),
    )


def _url(request: Request) -> http_pb2.URL:
    url = request.url
    message = http_pb2.URL(
        scheme=url.scheme,
        opaque=url.opaque,
        host=url.host,
        path=url.path,
        raw_path=url.raw_path,
        force_query=url.force_query,
        raw_query=url.raw_query,
    )
    if url.user is not None:
        message.user.username = url.user.username
        message.user.password = url.user.password
        message.user.password_set = url.user.password_set
        message.user.SetInParent()
    return message
