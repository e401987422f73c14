"""The Ping service and gRPC reflection, over gRPC and Connect, for header-routed requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from connectrpc.compat import google_protobuf_codecs
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio

SERVICE = "xsvm.Ping"
REFLECTION = "grpc.reflection.v1.ServerReflection"


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
    unary = _method("Ping", StreamType.UNARY, MESSAGES["PingRequest"], MESSAGES["PingReply"])
    stream = _method(
        "StreamPing", StreamType.BIDI_STREAM, MESSAGES["StreamPingRequest"], MESSAGES["StreamPingReply"]
    )
    # grpcio-reflection knows the version before v1, whose messages are the same.
    reflect = _method(
        "ServerReflectionInfo",
        StreamType.BIDI_STREAM,
        reflection_pb2.ServerReflectionRequest,
        reflection_pb2.ServerReflectionResponse,
        REFLECTION,
    )
    reflection = aio.ReflectionServicer([SERVICE], POOL)
    return {
        f"/{SERVICE}/Ping": Endpoint.unary(unary, ping.ping),
        f"/{SERVICE}/StreamPing": Endpoint.bidi_stream(stream, ping.stream_ping),
        f"/{REFLECTION}/ServerReflectionInfo": Endpoint.bidi_stream(reflect, reflection.ServerReflectionInfo),
    }


def _method(
    name: str, kind: StreamType, request: Any, reply: Any, service: str = SERVICE
) -> MethodInfo[Any, Any]:
    return MethodInfo(
        name=name,
        service_name=service,
        input=request,
        output=reply,
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=kind,
    )


def _pool() -> DescriptorPool:
    """Return the descriptors of the service and its four messages, each with one string."""
    file = FileDescriptorProto(name="xsvm/service.proto", package="xsvm", syntax="proto3")
    service = file.service.add(name="Ping")
    for name, is_stream in (("Ping", False), ("StreamPing", True)):
        for message in (f"{name}Request", f"{name}Reply"):
            file.message_type.add(name=message).field.add(
                name="message",
                number=1,
                type=FieldDescriptorProto.TYPE_STRING,
                label=FieldDescriptorProto.LABEL_OPTIONAL,
            )
        service.method.add(
            name=name,
            input_type=f".xsvm.{name}Request",
            output_type=f".xsvm.{name}Reply",
            client_streaming=is_stream,
            server_streaming=is_stream,
        )
    pool = DescriptorPool()
    pool.Add(file)
    return pool


POOL = _pool()
MESSAGES: dict[str, Any] = {
    name: GetMessageClass(POOL.FindMessageTypeByName(f"xsvm.{name}"))
    for name in ("PingRequest", "PingReply", "StreamPingRequest", "StreamPingReply")
}
