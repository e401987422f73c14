"""`HandleSimple`: the whole request in one message, the whole response in another."""

from __future__ import annotations

import grpc.aio

from vmsdk._pb.http import http_pb2
from vmsdk.host.http import header, status
from vmsdk.host.http.backend import Backend
from vmsdk.host.http.failures import IOFailed
from vmsdk.host.http.request import Request
from vmsdk.host.http.response import ResponseWriter, is_body_allowed
from vmsdk.protocol import Protocol


async def serve(backend: Backend, request: Request, writer: ResponseWriter, protocol: Protocol) -> None:
    """Answer *request* with what the VM makes of it."""
    try:
        body = await request.body.read_all()
    except IOFailed as error:
        await writer.error(str(error), 400)
        return
    try:
        response = await backend.handle_simple(_message(request, writer, body, protocol))
    except UnicodeEncodeError:
        await writer.error(status.NOT_UTF8, 500)
        return
    except (IOFailed, grpc.aio.AioRpcError) as error:
        embedded = status.embedded_response(error)
        if embedded is None:
            await writer.error(status.error_text(error), 500)
            return
        response = embedded
    await _write(writer, response, protocol)


def _message(
    request: Request, writer: ResponseWriter, body: bytes, protocol: Protocol
) -> http_pb2.HandleSimpleHTTPRequest:
    message = http_pb2.HandleSimpleHTTPRequest(
        method=request.method,
        url=request.target,
        body=body,
        request_headers=header.elements(request.header),
    )
    if protocol.simple_response_headers:
        message.response_headers.extend(header.elements(writer.header))
    return message


async def _write(
    writer: ResponseWriter, response: http_pb2.HandleSimpleHTTPResponse, protocol: Protocol
) -> None:
    if protocol.replaces_http_headers:
        header.replace(writer.header, response.headers)
    else:
        header.update(writer.header, response.headers)
    code = valid_code(response.code)
    if is_body_allowed(code) and response.body and "Content-Length" not in writer.header:
        writer.header["Content-Length"] = [str(len(response.body))]
    await writer.write_header(code)
    try:
        await writer.write(response.body)
    except IOFailed:
        pass  # The status takes no body, the VM declared another length, or the client is gone.


def valid_code(code: int) -> int:
    """*code*, or 500 for what is no status of HTTP. Source: grpcutils.EnsureValidResponseCode."""
    return code if 100 <= code <= 599 else 500
