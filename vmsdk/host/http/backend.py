"""A VM's HTTP handler as the node reaches it: a gRPC channel to one `http.HTTP` server."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio

from vmsdk._pb._service import Method, RequestT, ResponseT
from vmsdk._pb.http import http_pb2
from vmsdk._pb.http.http_grpc import HTTP
from vmsdk.host.channel import CHANNEL_OPTIONS
from vmsdk.host.http.failures import IOFailed
from vmsdk.host.http.status import CLOSING

# An error of HandleSimple carries the whole response twice in its trailers; a Go client takes 16 MiB of
# them. Source: google.golang.org/grpc/internal/transport, defaultClientMaxHeaderListSize.
_TRAILER_BYTES = 16 << 20
_OPTIONS: tuple[tuple[str, Any], ...] = (
    *CHANNEL_OPTIONS,
    ("grpc.max_metadata_size", _TRAILER_BYTES),
    ("grpc.absolute_max_metadata_size", _TRAILER_BYTES),
    # Each handler has a connection of its own, that ends with it.
    ("grpc.use_local_subchannel_pool", 1),
)


class Backend:
    """Calls one handler. It connects at the first call, and belongs to the event loop's thread."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel: grpc.aio.Channel | None = None
        self._is_closed = False

    async def handle_simple(
        self, request: http_pb2.HandleSimpleHTTPRequest
    ) -> http_pb2.HandleSimpleHTTPResponse:
        """Raises `grpc.aio.AioRpcError`, or `IOFailed` if the chain is removed meanwhile."""
        return await self._call(HTTP.HandleSimple, request)

    async def handle(self, request: http_pb2.HTTPRequest) -> http_pb2.HTTPResponse:
        """Raises like `handle_simple`."""
        return await self._call(HTTP.Handle, request)

    async def close(self) -> None:
        """Cancel what runs, and disconnect. Harmless when repeated."""
        self._is_closed = True
        if self._channel is not None:
            await self._channel.close(None)

    async def _call(self, method: Method[RequestT, ResponseT], request: RequestT) -> ResponseT:
        if self._is_closed:
            raise IOFailed(CLOSING)
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self.address, options=_OPTIONS)
        call = self._channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        try:
            # Like a node: a VM that is not there is waited for.
            response: ResponseT = await call(request, wait_for_ready=True)
        except asyncio.CancelledError:
            # A channel that closes cancels whoever waits for its calls: that is no wish of the client's.
            if self._is_closed:
                raise IOFailed(CLOSING) from None
            raise
        return response
