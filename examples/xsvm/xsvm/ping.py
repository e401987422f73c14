"""The Ping service, by gRPC and Connect, for requests that name the chain in a header."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from connectrpc.compat import google_protobuf_codecs
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

SERVICE = "xsvm.Ping"


class Ping:
    """Sends back what it gets."""

    async def ping(self, request: Any, ctx: Any) -> Any:
        """Send back the message."""
        return MESSAGES["PingReply"](message=request.message)

    async def stream_ping(self, requests: AsyncIterator[Any], ctx: Any) -> AsyncIterator[Any]:
        """Send back each message as it comes."""
        async for request in requests:
            yield MESSAGES["StreamPingReply"](message=request.message)


class PingApplication(ConnectASGIApplication[Ping]):
    """The ASGI app of the service."""

    def __init__(self) -> None:
        super().__init__(service=Ping(), endpoints=_endpoints, codecs=google_protobuf_codecs())

    @property
    def path(self) -> str:
        return f"/{SERVICE}"


def _endpoints(ping: Ping) -> dict[str, Any]:
    return {
        f"/{SERVICE}/Ping": Endpoint.unary(_method("Ping", StreamType.UNARY), ping.ping),
        f"/{SERVICE}/StreamPing": Endpoint.bidi_stream(
            _method("StreamPing", StreamType.BIDI_STREAM), ping.stream_ping
        ),
    }


def _method(name: str, kind: StreamType) -> MethodInfo[Any, Any]:
    return MethodInfo(
        name=name,
        service_name=SERVICE,
        input=MESSAGES[f"{name}Request"],
        output=MESSAGES[f"{name}Reply"],
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=kind,
    )


def _messages() -> dict[str, Any]:
    """Return the classes of the four messages, each of which has one field, a string."""
    names = ("PingRequest", "PingReply", "StreamPingRequest", "StreamPingReply")
    file = FileDescriptorProto(name="xsvm/service.proto", package="xsvm", syntax="proto3")
    for name in names:
        file.message_type.add(name=name).field.add(
            name="message",
            number=1,
            type=FieldDescriptorProto.TYPE_STRING,
            label=FieldDescriptorProto.LABEL_OPTIONAL,
        )
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"xsvm.{name}")) for name in names}


MESSAGES = _messages()
