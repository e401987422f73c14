"""A VM's HTTP handler as the node reaches it: a gRPC channel to one `http.HTTP` server."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from vmsdk._pb._service import Method, RequestT, ResponseT
from vmsdk._pb.http import http_pb2
from vmsdk.host.client import CHANNEL_OPTIONS

_CLOSING = "rpc error: code = Canceled desc = grpc: the client connection is closing"
_DETAILS_KEY = "grpc-status-details-bin"
# An error of HandleSimple has the whole response twice in its trailers; a Go client accepts 16 MiB.
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
            # Like a node, wait for a VM that does not listen yet.
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
    """Return the HTTP response that a Go VM sends as the only detail of an error, for status
    500.
    """
    raw = dict(error.trailing_metadata() or ()).get(_DETAILS_KEY)
    status: Any = _Status()
    response = http_pb2.HandleSimpleHTTPResponse()
    try:
        status.ParseFromString(raw if isinstance(raw, bytes) else b"")
        is_response = len(status.details) == 1 and status.details[0].Unpack(response)
    except DecodeError:
        return None
    return response if is_response else None


def _status_class() -> type[Message]:
    """Make `google.rpc.Status` in its own pool, where it can't collide with another package's."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="google/rpc/status.proto",
        package="google.rpc",
        dependency=[any_pb2.DESCRIPTOR.name],
        syntax="proto3",
    )
    field = descriptor_pb2.FieldDescriptorProto
    add = file.message_type.add(name="Status").field.add
    add(name="code", number=1, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL)
    add(name="message", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    details = add(name="details", number=3, type=field.TYPE_MESSAGE, label=field.LABEL_REPEATED)
    details.type_name = ".google.protobuf.Any"
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("google.rpc.Status"))


_Status = _status_class()
