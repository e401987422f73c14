"""Forwards requests to a VM, by `HandleSimple` or `Handle`."""

from __future__ import annotations

from typing import Any

from vmsdk._pb.http import http_pb2
from vmsdk._pb.http.http_grpc import HTTP
from vmsdk._pb.http.responsewriter.responsewriter_grpc import Writer
from vmsdk._pb.io.reader.reader_grpc import Reader
from vmsdk.host.http import header
from vmsdk.host.http.backend import Backend, BackendFailed
from vmsdk.host.http.connection import IOFailed
from vmsdk.host.http.loopback import (
    AsyncLoopbackServer,
    ResponseWriterService,
    Services,
    TakeOver,
    read_response,
)
from vmsdk.host.http.request import Request
from vmsdk.host.http.response import ResponseWriter, is_body_allowed, valid_status
from vmsdk.protocol import Protocol

_NOT_UTF8 = (
    "rpc error: code = Internal desc = grpc: error while marshaling: string field contains invalid UTF-8"
)


def is_handled(protocol: Protocol, request: Request) -> bool:
    """Whether the request goes to `Handle` (else to `HandleSimple`)."""
    return bool(header.first(request.header, "Upgrade")) or (protocol.handles_http2 and request.major == 2)


async def forward(
    backend: Backend, request: Request, writer: ResponseWriter, protocol: Protocol, take_over: TakeOver
) -> None:
    """Let the VM respond to *request*. Cancelled if the client disconnects."""
    handled = is_handled(protocol, request)
    body = b""
    if not handled or protocol.inline_http_body:
        try:
            body = await request.body.read_all()
        except IOFailed as error:
            await writer.error(str(error), 400)
            return
    try:
        if handled:
            await _handle(backend, request, writer, body, protocol, take_over)
        else:
            await _handle_simple(backend, request, writer, body, protocol)
    except BackendFailed as error:
        await writer.error(str(error), 500)
    except UnicodeEncodeError:  # From headers or a path that are not UTF-8.
        await writer.error(_NOT_UTF8, 500)


async def _handle_simple(
    backend: Backend, request: Request, writer: ResponseWriter, body: bytes, protocol: Protocol
) -> None:
    """The whole request in one message, the whole response in another."""
    message = http_pb2.HandleSimpleHTTPRequest(
        method=request.method,
        url=request.target,
        body=body,
        request_headers=header.elements(request.header),
        response_headers=header.elements(writer.header) if protocol.simple_response_headers else (),
    )
    try:
        response = await backend.call(HTTP.HandleSimple, message)
    except BackendFailed as error:
        if error.response is None:
            raise
        response = error.response
    if protocol.replaces_http_headers:
        writer.header.clear()
    header.update(writer.header, response.headers)
    status = valid_status(response.code)
    if is_body_allowed(status) and response.body and "Content-Length" not in writer.header:
        writer.header["Content-Length"] = [str(len(response.body))]
    await writer.write_header(status)
    try:
        await writer.write(response.body)
    except IOFailed:
        pass  # The status allows no body, the VM declared another length, or the client disconnected.


async def _handle(
    backend: Backend,
    request: Request,
    writer: ResponseWriter,
    body: bytes,
    protocol: Protocol,
    take_over: TakeOver,
) -> None:
    """The VM reads the body and writes the response through a gRPC server made for this request."""

    async def read(message: Any) -> Any:
        return await read_response(Reader.Read.response, request.body.read, message.length, protocol)

    response_writer = ResponseWriterService(writer, take_over)
    services: Services = {Writer: {name: getattr(response_writer, name) for name in Writer.methods}}
    if not protocol.inline_http_body:
        services[Reader] = {"Read": read}
    try:
        server = AsyncLoopbackServer(services)
        await server.start()
    except RuntimeError as error:  # Out of ports or descriptors.
        await writer.error(str(error), 500)
        return
    try:
        reply = await backend.call(HTTP.Handle, _message(request, writer, server.address, body))
        if protocol.replaces_http_headers:
            header.replace(writer.header, reply.header)
        await response_writer.settle()
    finally:
        await server.stop()


def _message(request: Request, writer: ResponseWriter, address: str, body: bytes) -> http_pb2.HTTPRequest:
    url = request.url
    return http_pb2.HTTPRequest(
        response_writer=http_pb2.ResponseWriter(header=header.elements(writer.header), server_addr=address),
        request=http_pb2.Request(
            method=request.method,
            url=http_pb2.URL(host=url.host, path=url.path, raw_path=url.raw_path, raw_query=url.raw_query),
            proto=request.version,
            proto_major=request.major,
            proto_minor=request.minor,
            header=header.elements(request.header),
            body=body,
            content_length=request.content_length,
            transfer_encoding=["chunked"] if request.is_chunked else [],
            host=request.host,
            remote_addr=request.remote_address,
            request_uri=request.target,
        ),
    )
