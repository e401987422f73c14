"""What a Handle call asks for: a streamed request or a WebSocket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vmsdk._pb.http import http_pb2
from vmsdk.http.asgi import Scope
from vmsdk.protocol import Protocol
from vmsdk.rpc.http import headers
from vmsdk.rpc.http.connection import HijackedConnection
from vmsdk.rpc.http.exchange import Exchange
from vmsdk.rpc.http.headers import HeaderMap, RawHeaders
from vmsdk.rpc.http.reader import NodeReader
from vmsdk.rpc.http.responsewriter import ResponseChannel
from vmsdk.rpc.http.routes import Routes
from vmsdk.rpc.http.site import Site
from vmsdk.rpc.http.stream import ResponseStream
from vmsdk.rpc.http.streamed import InlineBody, StreamedExchange
from vmsdk.rpc.http.target import InvalidTarget, Target, parse

if TYPE_CHECKING:
    from vmsdk.rpc.http.websocket import WebSocketExchange

_DEFAULT_PORTS = {"http": 80, "https": 443}

NO_WSPROTO = "this VM serves no WebSockets: install its extra, pip install 'vmsdk[websocket]'"


class Refusal(Exception):
    """The request goes no further than here."""

    def __init__(self, status: int, text: str, extra: RawHeaders) -> None:
        self.status = status
        self.text = text
        self.extra = extra
        super().__init__(text)


async def handle(
    call: http_pb2.HTTPRequest, reached: Site, routes: Routes, protocol: Protocol
) -> http_pb2.HTTPResponse:
    """Let the app answer; *reached* is the one whose server the node called."""
    request = call.request
    node = ResponseChannel(call.response_writer.server_addr, protocol)
    stream = ResponseStream(request.method or "GET", node.writer, headers.to_map(call.response_writer.header))
    try:
        where = _target(request)
        site = routes.site_for(where.path, reached)
        exchange = _exchange(request, where, site, node, stream, protocol)
    except (InvalidTarget, Refusal) as error:
        try:
            refusal = error if isinstance(error, Refusal) else Refusal(400, str(error), [])
            await stream.fail(refusal.status, refusal.text, refusal.extra)
        finally:
            await node.close()
    else:
        await site.run(exchange)
    return _answer(stream.final_headers, protocol)


def _answer(final: HeaderMap, protocol: Protocol) -> http_pb2.HTTPResponse:
    if protocol.inline_http_body:
        return http_pb2.HTTPResponse()
    return http_pb2.HTTPResponse(header=headers.to_wire(final, http_pb2.Element))


def _exchange(
    request: http_pb2.Request,
    where: Target,
    site: Site,
    node: ResponseChannel,
    stream: ResponseStream,
    protocol: Protocol,
) -> Exchange:
    received = headers.to_asgi(request.header)
    if request.host:
        received.insert(0, (b"host", request.host.encode()))
    about: dict[str, Any] = {
        "headers": received,
        "http_version": f"{request.proto_major}.{request.proto_minor}" if request.proto_major < 2 else "2",
        "client": _address(request.remote_addr, 0),
    }
    scheme = "https" if request.HasField("tls") else "http"
    about["server"] = _address(request.host, _DEFAULT_PORTS[scheme])
    if is_websocket(request, received):
        about["scheme"] = "wss" if scheme == "https" else "ws"
        return _websocket(site.scope("websocket", where, **about), site, node, stream, protocol)
    scope = site.scope(
        "http",
        where,
        method=request.method or "GET",
        scheme=scheme,
        extensions={"http.response.trailers": {}},
        **about,
    )
    return StreamedExchange(scope, node, _body(request, node, protocol), stream, site.shared.priority)


def _websocket(
    scope: Scope, site: Site, node: ResponseChannel, stream: ResponseStream, protocol: Protocol
) -> WebSocketExchange:
    try:
        from vmsdk.rpc.http import websocket
    except ImportError:
        site.shared.log.error("%s: a client asks for a WebSocket, but %s", scope["path"], NO_WSPROTO)
        raise Refusal(501, NO_WSPROTO, []) from None
    try:
        handshake, subprotocols = websocket.begin(scope["headers"])
    except websocket.Refused as error:
        raise Refusal(error.status, str(error), error.headers) from None
    scope["subprotocols"] = subprotocols
    scope["extensions"] = {"websocket.http.response": {}}
    return websocket.WebSocketExchange(
        scope,
        handshake,
        node,
        stream,
        lambda address: HijackedConnection(address, protocol),
        site.shared,
    )


def is_websocket(request: http_pb2.Request, received: RawHeaders) -> bool:
    """Whether the request asks to become a WebSocket; other upgrades, such as h2c, are declined by answering."""
    return request.proto_major < 2 and any(
        name == b"upgrade" and value.strip().lower() == b"websocket" for name, value in received
    )


def _body(request: http_pb2.Request, node: ResponseChannel, protocol: Protocol) -> NodeReader | InlineBody:
    if protocol.inline_http_body or request.content_length == 0:
        return InlineBody(request.body)
    return node.body


def _target(request: http_pb2.Request) -> Target:
    if request.request_uri:
        return parse(request.request_uri)
    url = request.url
    if url.opaque:
        return parse(url.opaque)
    raw = (url.raw_path or url.path).encode() or b"/"
    return Target(url.path or "/", raw, url.raw_query.encode())


def _address(text: str, default_port: int) -> tuple[str, int] | None:
    """`host:port` or `host` as ASGI has it."""
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()):
        host, port = text, str(default_port)
    return host.removeprefix("[").removesuffix("]"), int(port)
