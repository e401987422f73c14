"""gRPC statuses as a Go node sees them: the text of an error, and the response inside one."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from vmsdk._pb.http import http_pb2
from vmsdk.host.http.failures import IOFailed

DETAILS_KEY = "grpc-status-details-bin"

NOT_UTF8 = (
    "rpc error: code = Internal desc = grpc: error while marshaling: string field contains invalid UTF-8"
)
"""What a Go node answers to a request whose headers or path can't be written as protobuf text."""

CANCELLED = "rpc error: code = Canceled desc = context canceled"
"""What a Go node answers to a client that stopped sending while the VM was at work."""

CLOSING = "rpc error: code = Canceled desc = grpc: the client connection is closing"
"""What a Go node answers when it drops the VM while the VM was at work."""

_ONE_WORD = {"OK": "OK", "CANCELLED": "Canceled"}


def error_text(error: grpc.RpcError | IOFailed) -> str:
    """The error's text in Go: `rpc error: code = Unknown desc = …`."""
    if isinstance(error, IOFailed):
        return str(error)
    call: Any = error
    return f"rpc error: code = {_go_name(call.code())} desc = {call.details() or ''}"


def embedded_response(error: grpc.aio.AioRpcError | IOFailed) -> http_pb2.HandleSimpleHTTPResponse | None:
    """The HTTP response that an error carries as its only detail, as a Go VM sends status 500; else None.

    Go drops details whose code contradicts the status. Numbers outside gRPC's own, such as 500, arrive
    here as UNKNOWN, so that those are taken with UNKNOWN.
    """
    if isinstance(error, IOFailed):
        return None
    raw = dict(error.trailing_metadata() or ()).get(DETAILS_KEY)
    if not isinstance(raw, bytes):
        return None
    status: Any = _Status()
    response = http_pb2.HandleSimpleHTTPResponse()
    try:
        status.ParseFromString(raw)
        if len(status.details) != 1 or not status.details[0].Unpack(response):
            return None
    except DecodeError:
        return None
    received: int = error.code().value[0]
    is_own = any(code.value[0] == status.code for code in grpc.StatusCode)
    expected = status.code if is_own else grpc.StatusCode.UNKNOWN.value[0]
    return response if received == expected else None


def _go_name(code: grpc.StatusCode) -> str:
    return _ONE_WORD.get(code.name) or "".join(word.capitalize() for word in code.name.split("_"))


def _status_class() -> type[Message]:
    """`google.rpc.Status`, in a pool of its own: packages that bring the same file must not collide."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="google/rpc/status.proto",
        package="google.rpc",
        dependency=[any_pb2.DESCRIPTOR.name],
        syntax="proto3",
    )
    message = file.message_type.add(name="Status")
    field = descriptor_pb2.FieldDescriptorProto
    message.field.add(name="code", number=1, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL)
    message.field.add(name="message", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    message.field.add(
        name="details",
        number=3,
        type=field.TYPE_MESSAGE,
        label=field.LABEL_REPEATED,
        type_name=".google.protobuf.Any",
    )
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("google.rpc.Status"))


_Status = _status_class()
