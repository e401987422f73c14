"""The gRPC service `http.HTTP` of one mounted app."""

from __future__ import annotations

from typing import Any

import grpc

from vmsdk._pb.http import http_pb2
from vmsdk.http.jsonrpc import JSONRPC
from vmsdk.protocol import Protocol
from vmsdk.rpc.http import direct, handle, headers
from vmsdk.rpc.http.methods import HTTPMethods
from vmsdk.rpc.http.routes import Routes
from vmsdk.rpc.http.simple import SimpleExchange
from vmsdk.rpc.http.site import Site
from vmsdk.rpc.http.target import InvalidTarget, parse


class HTTPService:
    """Answers the node's calls for one server, on the event loop."""

    def __init__(self, site: Site, routes: Routes, protocol: Protocol) -> None:
        self._site = site
        self._routes = routes
        self._protocol = protocol

    def handler(self) -> grpc.GenericRpcHandler:
        """The service as grpcio takes it."""
        shared = self._site.shared
        return HTTPMethods(self._handle_simple, self._handle, shared.priority, shared.log)

    async def _handle_simple(
        self, request: http_pb2.HandleSimpleHTTPRequest | None, context: grpc.aio.ServicerContext[Any, Any]
    ) -> http_pb2.HandleSimpleHTTPResponse:
        """A request of HTTP/1 without `Upgrade` (until protocol 40 also of HTTP/2)."""
        if request is None:
            await context.abort(grpc.StatusCode.INTERNAL, "the message is malformed")
        try:
            where = parse(request.url)
        except InvalidTarget as error:
            return _bad_request(error)
        site = self._routes.site_for(where.path, self._site)
        if isinstance(site.app, JSONRPC):
            return await direct.handle_simple(site.app, request, site.shared)
        scope = site.scope(
            "http",
            where,
            method=request.method or "GET",
            scheme="http",
            # The call carries neither the version, nor the host, nor who asks.
            http_version="1.1",
            headers=headers.to_asgi(request.request_headers),
            client=None,
            server=None,
            extensions={"http.response.trailers": {}},
        )
        exchange = SimpleExchange(scope, request.body, headers.to_map(request.response_headers))
        await site.run(exchange)
        return exchange.answer()

    async def _handle(
        self, request: http_pb2.HTTPRequest | None, context: grpc.aio.ServicerContext[Any, Any]
    ) -> http_pb2.HTTPResponse:
        if request is None:
            await context.abort(grpc.StatusCode.INTERNAL, "the message is malformed")
        return await self.handle(request)

    async def handle(self, request: http_pb2.HTTPRequest) -> http_pb2.HTTPResponse:
        """A request with `Upgrade`, or (from protocol 41) of HTTP/2."""
        return await handle.handle(request, self._site, self._routes, self._protocol)


def _bad_request(error: InvalidTarget) -> http_pb2.HandleSimpleHTTPResponse:
    return http_pb2.HandleSimpleHTTPResponse(
        code=400,
        headers=[http_pb2.Element(key="Content-Type", values=["text/plain; charset=utf-8"])],
        body=f"{error}\n".encode(),
    )
