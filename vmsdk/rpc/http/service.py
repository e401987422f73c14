"""The gRPC service `http.HTTP`: turns the node's calls into exchanges with the apps."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from vmsdk._pb._service import Method, RequestT, ResponseT
from vmsdk._pb.http import http_pb2
from vmsdk._pb.http.http_grpc import HTTP
from vmsdk.http.jsonrpc import JSONRPC, RunInThread
from vmsdk.protocol import Protocol
from vmsdk.rpc.http import headers
from vmsdk.rpc.http.capacity import Full
from vmsdk.rpc.http.exchange import Exchange, SimpleExchange, StreamedExchange
from vmsdk.rpc.http.headers import RawHeaders
from vmsdk.rpc.http.nodeservers import HijackedConnection, ResponseChannel
from vmsdk.rpc.http.response import Refusal, ResponseStream
from vmsdk.rpc.http.site import Routes, Site
from vmsdk.rpc.http.target import InvalidTarget, Target, parse
from vmsdk.rpc.peercheck import REFUSAL, PeerCheck
from vmsdk.rpc.watchdog import end_if_forked
from vmsdk.services.databasemetrics import RECORDED_CALLS, RecordedCall

if TYPE_CHECKING:
    from vmsdk.rpc.http.websocket import WebSocketExchange

_DEFAULT_PORTS = {"http": 80, "https": 443}

NO_WSPROTO = "this VM serves no WebSockets: install the extra with pip install 'vmsdk[websocket]'"


class HTTPMethods(grpc.GenericRpcHandler):
    """The service's two methods, which are plain functions or `async` ones.

    An `async` one gets None for a malformed message, and must refuse it. The server of plain ones
    does that itself.
    """

    def __init__(
        self, handle_simple: Callable[..., Any], handle: Callable[..., Any], log: logging.Logger
    ) -> None:
        self._log = log
        self._handlers = {
            HTTP.HandleSimple.path: self._handler(HTTP.HandleSimple, handle_simple),
            # Until protocol 39 the node expects Empty, which is an HTTPResponse without headers.
            HTTP.Handle.path: self._handler(HTTP.Handle, handle),
        }

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        return self._handlers.get(handler_call_details.method)

    def _handler(
        self, method: Method[RequestT, ResponseT], behaviour: Callable[..., Any]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        def decode(data: bytes) -> RequestT | None:
            try:
                return method.request.FromString(data)
            except DecodeError as error:
                self._log.warning("%s: the node sent a malformed message: %s", method.path, error)
                return None

        return grpc.unary_unary_rpc_method_handler(
            behaviour, request_deserializer=decode, response_serializer=method.response.SerializeToString
        )


@contextmanager
def _ends_if_forked(site: Site) -> Iterator[None]:
    """Entered around an app's work: a child process that it forks exits where the app returns."""
    pid = os.getpid()
    try:
        yield
    finally:
        end_if_forked(pid, f"an app at {site.route}")


class HTTPService:
    """Serves the node's calls to the server of one app, on the event loop."""

    def __init__(self, site: Site, routes: Routes, protocol: Protocol) -> None:
        self._site = site
        self._routes = routes
        self._protocol = protocol
        self.peers: PeerCheck | None = None
        """Who may call, if not everybody."""

    def handler(self) -> grpc.GenericRpcHandler:
        """The service in grpcio's form."""
        return HTTPMethods(self._handle_simple, self._handle, self._site.shared.log)

    async def _check(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        if self.peers is not None and not self.peers.admits(context.peer()):
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, REFUSAL)

    async def _handle_simple(
        self, request: http_pb2.HandleSimpleHTTPRequest | None, context: grpc.aio.ServicerContext[Any, Any]
    ) -> http_pb2.HandleSimpleHTTPResponse:
        """An HTTP/1 request without `Upgrade`; until protocol 40, an HTTP/2 request too."""
        await self._check(context)
        if request is None:
            await context.abort(grpc.StatusCode.INTERNAL, "the message is malformed")
        try:
            where = parse(request.url)
        except InvalidTarget as error:
            return _text(400, str(error))
        site = self._routes.site_for(where.path, self._site)
        shared = site.shared
        if isinstance(site.app, JSONRPC):
            try:
                with shared.capacity.requests.take(), _ends_if_forked(site):
                    return await respond(site.app, request, site.run_in_thread, site)
            except Full as error:
                return _text(503, str(error))
        scope = site.scope(
            "http",
            where,
            method=request.method or "GET",
            scheme="http",
            # The call carries neither the version, nor the host, nor the client's address.
            http_version="1.1",
            headers=headers.to_asgi(request.request_headers),
            client=None,
            server=None,
            extensions={"http.response.trailers": {}},
        )
        exchange = SimpleExchange(scope, request.body, headers.to_map(request.response_headers))
        with _ends_if_forked(site):
            await site.run(exchange)
        return exchange.result()

    async def _handle(
        self, request: http_pb2.HTTPRequest | None, context: grpc.aio.ServicerContext[Any, Any]
    ) -> http_pb2.HTTPResponse:
        await self._check(context)
        if request is None:
            await context.abort(grpc.StatusCode.INTERNAL, "the message is malformed")
        return await self.handle(request)

    async def handle(self, call: http_pb2.HTTPRequest) -> http_pb2.HTTPResponse:
        """A request with `Upgrade`, or (since protocol 41) an HTTP/2 request."""
        request, writer = call.request, call.response_writer
        node = ResponseChannel(writer.server_addr, self._protocol)
        stream = ResponseStream(request.method or "GET", node, headers.to_map(writer.header))
        try:
            where = _target(request)
            site = self._routes.site_for(where.path, self._site)
            exchange = self._exchange(request, where, site, node, stream)
        except (InvalidTarget, Refusal) as error:
            refusal = error if isinstance(error, Refusal) else Refusal(400, str(error), [])
            try:
                await stream.fail(refusal.status, refusal.text, refusal.extra)
            finally:
                await node.close()
        else:
            with _ends_if_forked(site):
                await site.run(exchange)
        if self._protocol.inline_http_body:
            return http_pb2.HTTPResponse()
        return http_pb2.HTTPResponse(header=headers.to_wire(stream.final_headers, http_pb2.Element))

    def _exchange(
        self,
        request: http_pb2.Request,
        where: Target,
        site: Site,
        node: ResponseChannel,
        stream: ResponseStream,
    ) -> Exchange:
        received = headers.to_asgi(request.header)
        if request.host:
            received.insert(0, (b"host", request.host.encode()))
        scheme = "https" if request.HasField("tls") else "http"
        about: dict[str, Any] = {
            "headers": received,
            "http_version": f"{request.proto_major}.{request.proto_minor}"
            if request.proto_major < 2
            else "2",
            "client": _address(request.remote_addr, 0),
            "server": _address(request.host, _DEFAULT_PORTS[scheme]),
        }
        if is_websocket(request, received):
            about["scheme"] = "wss" if scheme == "https" else "ws"
            return self._websocket(site.scope("websocket", where, **about), site, node, stream)
        scope = site.scope(
            "http",
            where,
            method=request.method or "GET",
            scheme=scheme,
            extensions={"http.response.trailers": {}},
            **about,
        )
        # Until protocol 39, each body comes with the request; later, only an empty one.
        is_inline = self._protocol.inline_http_body or request.content_length == 0
        return StreamedExchange(scope, node, request.body if is_inline else node.body, stream)

    def _websocket(
        self, scope: Any, site: Site, node: ResponseChannel, stream: ResponseStream
    ) -> WebSocketExchange:
        try:
            from vmsdk.rpc.http import websocket
        except ImportError:
            site.shared.log.error("%s: a client requested a WebSocket, but %s", site.name(scope), NO_WSPROTO)
            raise Refusal(501, NO_WSPROTO, []) from None
        handshake, scope["subprotocols"] = websocket.begin(scope["headers"])
        scope["extensions"] = {"websocket.http.response": {}}
        protocol = self._protocol
        return websocket.WebSocketExchange(
            scope, handshake, node, stream, lambda address: HijackedConnection(address, protocol), site
        )


async def respond(
    service: JSONRPC, request: http_pb2.HandleSimpleHTTPRequest, run_in_thread: RunInThread, site: Site
) -> http_pb2.HandleSimpleHTTPResponse:
    """The response of a JSON-RPC service. Going through ASGI would take twice the time."""
    began_s = perf_counter()
    calls: list[RecordedCall] = []
    recording = RECORDED_CALLS.set(calls if site.is_traced else None)
    content_type = next(
        (
            header.values[0].encode()
            for header in request.request_headers
            if header.key == "Content-Type" and header.values
        ),
        None,
    )
    method = request.method or "GET"
    reply = await service.respond(method, content_type, request.body, run_in_thread, site.report)
    RECORDED_CALLS.reset(recording)
    site.measured(method, reply.status, began_s, calls)
    response = http_pb2.HandleSimpleHTTPResponse(code=reply.status, body=reply.body)
    response.headers.extend(request.response_headers)
    for key, value in reply.headers.items():
        response.headers.add(key=key).values.append(value)
    return response


def is_websocket(request: http_pb2.Request, received: RawHeaders) -> bool:
    """Whether the request is for a WebSocket. Other upgrades get an ordinary response."""
    return request.proto_major < 2 and any(
        name == b"upgrade" and value.strip().lower() == b"websocket" for name, value in received
    )


def _target(request: http_pb2.Request) -> Target:
    if request.request_uri:
        return parse(request.request_uri)
    url = request.url
    if url.opaque:
        return parse(url.opaque)
    raw = (url.raw_path or url.path).encode() or b"/"
    return Target(url.path or "/", raw, url.raw_query.encode())


def _address(text: str, default_port: int) -> tuple[str, int] | None:
    """`host:port` or `host` in ASGI's form."""
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit() and len(port) <= 5):
        host, port = text, str(default_port)
    return host.removeprefix("[").removesuffix("]"), int(port)


def _text(status: int, text: str) -> http_pb2.HandleSimpleHTTPResponse:
    return http_pb2.HandleSimpleHTTPResponse(
        code=status,
        headers=[http_pb2.Element(key="Content-Type", values=["text/plain; charset=utf-8"])],
        body=f"{text}\n".encode(),
    )
