"""The gRPC service `http.HTTP` of one mounted app."""

from __future__ import annotations


import grpc

from vmsdk._pb.http import http_pb2
from vmsdk._pb.http.http_grpc import HTTP
from vmsdk.protocol import Protocol
from vmsdk.rpc.http import headers, target
from vmsdk.rpc.http.routes import Routes
from vmsdk.rpc.http.simple import SimpleExchange
from vmsdk.rpc.http.site import Site


class HTTPService:
    """Answers the node's calls for one server, on the event loop."""

    def __init__(self, site: Site, routes: Routes, protocol: Protocol) -> None:
        self._site = site
        self._routes = routes
        self._protocol = protocol

    def handler(self) -> grpc.GenericRpcHandler:
        """The service as grpcio takes it."""
        return grpc.method_handlers_generic_handler(
            HTTP.full_name,
            {
                "HandleSimple": grpc.unary_unary_rpc_method_handler(
                    self.handle_simple,
                    request_deserializer=HTTP.HandleSimple.request.FromString,
                    response_serializer=HTTP.HandleSimple.response.SerializeToString,
                ),
            },
        )

    async def handle_simple(
        self, request: http_pb2.HandleSimpleHTTPRequest, context: object
    ) -> http_pb2.HandleSimpleHTTPResponse:
        try:
            where = target.parse(request.url)
        except target.InvalidTarget as error:
            return http_pb2.HandleSimpleHTTPResponse(
                code=400,
                headers=[http_pb2.Element(key="Content-Type", values=["text/plain; charset=utf-8"])],
                body=f"{error}\n".encode(),
            )
        site = self._routes.site_for(where.path, self._site)
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
