"""A VM's HTTP handler as the node reaches it: a gRPC channel to one `http.HTTP` server."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from vmsdk._pb._service import Method, RequestT, ResponseT
from vmsdk._pb.http import http_pb2
from vmsdk.host.client import CHANNEL_OPTIONS

_CLOSING = "rpc error: code = Canceled desc = grpc: the client connection is closing"
_DETAILS_KEY = "grpc-status-details-bin"
_DETAILS_FIELD = 3  # of google.rpc.Status
# An error of HandleSimple has the whole response twice in its trailers; Go clients accept 16 MiB.
# Source: google.golang.org/grpc/internal/transport, defaultClientMaxHeaderListSize.
_TRAILER_BYTES = 16 << 20
_OPTIONS: tuple[tuple[str, Any], ...] = (
    *CHANNEL_OPTIONS,
    ("grpc.max_metadata_size", _TRAILER_BYTES),
    ("grpc.absolute_max_metadata_size", _TRAILER_BYTES),
    # Each handler has its own connection, which is closed with it.
    ("grpc.use_local_subchannel_pool", 1),
)


class BackendFailed(Exception):
    """A call failed. The text is Go's; *response* is the HTTP response in it, if any."""

    def __init__(self, text: str, response: http_pb2.HandleSimpleHTTPResponse | None = None) -> None:
        self.response = response
        super().__init__(text)


class Backend:
    """Calls one handler. It connects at the first call. Use it on the event loop's thread only."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel: grpc.aio.Channel | None = None
        self._is_closed = False

    async def close(self) -> None:
        """Cancel running calls and disconnect. Idempotent."""
        self._is_closed = True
        if self._channel is not None:
            await self._channel.close(None)

    async def call(self, method: Method[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """Call a method of `http.HTTP`. Raises `BackendFailed`."""
        if self._is_closed:
            raise BackendFailed(_CLOSING)
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self.address, options=_OPTIONS)
        call = method.on(self._channel)
        try:
            # Like a node, wait for a VM that isn't listening yet.
            response: ResponseT = await call(request, wait_for_ready=True)
        except asyncio.CancelledError:
            # A closing channel cancels the tasks that wait for its calls.
            if self._is_closed:
                raise BackendFailed(_CLOSING) from None
            raise
        except grpc.aio.AioRpcError as error:
            text = f"rpc error: code = {_go_name(error.code())} desc = {error.details() or ''}"
            raise BackendFailed(text, _response_in(error)) from None
        return response


def _go_name(code: grpc.StatusCode) -> str:
    if code is grpc.StatusCode.CANCELLED:
        return "Canceled"
    return "".join(word.capitalize() for word in code.name.split("_"))


def _response_in(error: grpc.aio.AioRpcError) -> http_pb2.HandleSimpleHTTPResponse | None:
    """Return the response with status 500 that a Go VM sends as the only detail of an error."""
    raw = dict(error.trailing_metadata() or ()).get(_DETAILS_KEY)
    response = http_pb2.HandleSimpleHTTPResponse()
    try:
        # A `google.rpc.Status`, which is in another package: a parser of Empty keeps its fields.
        fields: Any = UnknownFieldSet(Empty.FromString(raw if isinstance(raw, bytes) else b""))
        details = [field.data for field in fields if field.field_number == _DETAILS_FIELD]
        is_response = len(details) == 1 and Packed.FromString(details[0]).Unpack(response)
    except (DecodeError, TypeError):  # TypeError: the field does not have bytes
        return None
    return response if is_response else None
