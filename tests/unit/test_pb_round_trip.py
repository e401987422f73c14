"""Every message of the wire, and a call that uses the service tables. CI also runs it on the oldest
grpcio and protobuf.
"""

from __future__ import annotations

import importlib
import pkgutil
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf import empty_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto
from google.protobuf.message import Message

import vmsdk._pb
from vmsdk._pb.vm.runtime import runtime_pb2
from vmsdk._pb.vm.runtime.runtime_grpc import Runtime

SAMPLES: dict[FieldDescriptorProto.Type.ValueType, object] = {
    FieldDescriptorProto.TYPE_BOOL: True,
    FieldDescriptorProto.TYPE_BYTES: b"\x00\xff",
    FieldDescriptorProto.TYPE_DOUBLE: 0.5,
    FieldDescriptorProto.TYPE_ENUM: 1,
    FieldDescriptorProto.TYPE_INT32: -(2**31),
    FieldDescriptorProto.TYPE_INT64: -(2**63),
    FieldDescriptorProto.TYPE_SINT32: -(2**31),
    FieldDescriptorProto.TYPE_SINT64: -(2**63),
    FieldDescriptorProto.TYPE_STRING: "Zoë",
    FieldDescriptorProto.TYPE_UINT32: 2**32 - 1,
    FieldDescriptorProto.TYPE_UINT64: 2**64 - 1,
}


def message_classes() -> list[type[Message]]:
    modules = [module.name for module in pkgutil.walk_packages(vmsdk._pb.__path__, "vmsdk._pb.")]
    return [
        value
        for name in modules
        if name.endswith("_pb2")
        for value in vars(importlib.import_module(name)).values()
        if isinstance(value, type) and issubclass(value, Message)
    ]


def fill(message: Message) -> int:
    """Set every field, also in nested messages; return how many fields the message itself has."""
    descriptor = DescriptorProto()
    message.DESCRIPTOR.CopyToProto(descriptor)
    for field in descriptor.field:
        repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
        value = getattr(message, field.name)
        if field.type == FieldDescriptorProto.TYPE_MESSAGE:
            fill(value.add() if repeated else value)
        elif repeated:
            value.append(SAMPLES[field.type])
        else:
            setattr(message, field.name, SAMPLES[field.type])
    return len(descriptor.field)


@pytest.mark.parametrize(
    "message_class", message_classes(), ids=lambda message_class: message_class.DESCRIPTOR.full_name
)
def test_a_message_with_every_field_set_survives_the_wire(message_class: type[Message]) -> None:
    message = message_class()
    fields = fill(message)
    received = message_class.FromString(message.SerializeToString())
    assert received == message
    assert len(received.ListFields()) == fields


def test_the_handshake_has_exactly_these_bytes() -> None:
    request = runtime_pb2.InitializeRequest(protocol_version=45, addr="127.0.0.1:9651")
    assert request.SerializeToString() == b"\x08\x2d\x12\x0e127.0.0.1:9651"


def test_a_client_and_a_server_built_from_the_tables_understand_each_other() -> None:
    received = []

    def initialize(request: runtime_pb2.InitializeRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        received.append(request)
        return empty_pb2.Empty()

    method = Runtime.Initialize
    handlers = {"Initialize": method.handler(initialize)}
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(Runtime.full_name, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    request = runtime_pb2.InitializeRequest(protocol_version=45, addr="127.0.0.1:9651")
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0)]) as channel:
            call = method.on(channel)
            assert call(request, timeout=60) == empty_pb2.Empty()
    finally:
        server.stop(None).wait()
    assert received == [request]
