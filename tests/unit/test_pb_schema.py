"""The wire matches schema.json exactly."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from grpc_health.v1 import health_pb2

import vmsdk._pb
from vmsdk._pb._service import Service

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "schema.json").read_text("utf-8")
)
PACKAGES = {name: package for name, package in SCHEMA.items() if name != "_meta"}

POOL_PREFIX = "vmsdk."
"""The prefix that proto/generate.py adds to package names."""


class Field(NamedTuple):
    number: int
    type: str
    label: str


class Call(NamedTuple):
    request: str
    response: str
    client_streaming: bool
    server_streaming: bool


Elements = dict[str, object]
"""By full name: a Field, a Call, the number of an enum value, or the kind of a container."""

BOTH_MEANINGS = Field(2, "bytes", "optional")
EXCEPTIONS: Elements = {
    # A string up to protocol 41, a message since 42.
    "io.reader.ReadResponse.error": BOTH_MEANINGS,
    "net.conn.ReadResponse.error": BOTH_MEANINGS,
    # The name of request_headers (same number and type) up to protocol 41.
    "http.HandleSimpleHTTPRequest.headers": None,
    # grpcio-health-checking has these, nodes don't.
    "grpc.health.v1.Health.List": Call(
        "grpc.health.v1.HealthListRequest", "grpc.health.v1.HealthListResponse", False, False
    ),
    "grpc.health.v1.HealthListRequest": "message",
    "grpc.health.v1.HealthListResponse": "message",
    "grpc.health.v1.HealthListResponse.statuses": Field(
        1, "grpc.health.v1.HealthListResponse.StatusesEntry", "repeated"
    ),
    "grpc.health.v1.HealthListResponse.StatusesEntry": "message",
    "grpc.health.v1.HealthListResponse.StatusesEntry.key": Field(1, "string", "singular"),
    "grpc.health.v1.HealthListResponse.StatusesEntry.value": Field(
        2, "grpc.health.v1.HealthCheckResponse", "singular"
    ),
}
"""Intended differences from the schema; None for what we don't have."""


def modules(suffix: str) -> list[ModuleType]:
    found = pkgutil.walk_packages(vmsdk._pb.__path__, "vmsdk._pb.")
    return [importlib.import_module(module.name) for module in found if module.name.endswith(suffix)]


def our_files() -> list[FileDescriptorProto]:
    files = []
    for module in [*modules("_pb2"), health_pb2]:
        file = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        files.append(file)
    return files


def wire_name(name: str) -> str:
    return name.removeprefix(".").removeprefix(POOL_PREFIX)


def our_elements() -> Elements:
    elements: Elements = {}
    for file in our_files():
        package = wire_name(file.package)
        elements.update(our_messages(file, package, file.message_type))
        elements.update(our_enums(package, file.enum_type))
        for service in file.service:
            name = f"{package}.{service.name}"
            elements[name] = "service"
            for method in service.method:
                elements[f"{name}.{method.name}"] = Call(
                    wire_name(method.input_type),
                    wire_name(method.output_type),
                    method.client_streaming,
                    method.server_streaming,
                )
    return elements


def our_messages(
    file: FileDescriptorProto, scope: str, messages: Iterable[DescriptorProto]
) -> Iterator[tuple[str, object]]:
    for message in messages:
        name = f"{scope}.{message.name}"
        yield name, "message"
        yield from our_messages(file, name, message.nested_type)
        yield from our_enums(name, message.enum_type)
        for field in message.field:
            yield f"{name}.{field.name}", Field(field.number, type_of(field), label_of(file, field))


def our_enums(scope: str, enums: Iterable[EnumDescriptorProto]) -> Iterator[tuple[str, object]]:
    for enum in enums:
        name = f"{scope}.{enum.name}"
        yield name, "enum"
        for value in enum.value:
            yield f"{name}.{value.name}", value.number


def type_of(field: FieldDescriptorProto) -> str:
    if field.type_name:
        return wire_name(field.type_name)
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def label_of(file: FileDescriptorProto, field: FieldDescriptorProto) -> str:
    if field.HasField("oneof_index") and not field.proto3_optional:
        return "in a oneof"
    label = FieldDescriptorProto.Label.Name(field.label).removeprefix("LABEL_").lower()
    if label == "optional" and file.syntax == "proto3" and not field.proto3_optional:
        return "singular"
    return label


def schema_elements() -> Elements:
    elements: Elements = {}
    for package, contents in PACKAGES.items():
        for service, methods in contents["services"].items():
            elements[f"{package}.{service}"] = "service"
            for method, call in methods.items():
                elements[f"{package}.{service}.{method}"] = Call(*(call[key] for key in Call._fields))
        for message, fields in contents["messages"].items():
            elements[f"{package}.{message}"] = "message"
            for name, field in fields.items():
                elements[f"{package}.{message}.{name}"] = Field(*(field[key] for key in Field._fields))
        for enum, values in contents["enums"].items():
            elements[f"{package}.{enum}"] = "enum"
            for name, value in values.items():
                elements[f"{package}.{enum}.{name}"] = value["number"]
    return elements


def difference(ours: Elements, wanted: Elements) -> dict[str, tuple[object, object]]:
    names = ours.keys() | wanted.keys()
    return {
        name: (ours.get(name), wanted.get(name))
        for name in sorted(names)
        if ours.get(name) != wanted.get(name)
    }


def test_the_schema_and_our_files_have_the_same_elements() -> None:
    differences = difference(our_elements(), schema_elements())
    assert {name: ours for name, (ours, _) in differences.items()} == EXCEPTIONS, differences


def test_each_package_of_the_schema_is_one_file_with_the_same_syntax() -> None:
    proto2 = SCHEMA["_meta"]["packages_proto2"]
    wanted = {package: "proto2" if package in proto2 else "proto3" for package in PACKAGES}
    # protoc omits the name of the older syntax.
    assert {wire_name(file.package): file.syntax or "proto2" for file in our_files()} == wanted
    assert len(our_files()) == len(PACKAGES)


def test_a_field_whose_type_has_changed_between_protocols_is_bytes() -> None:
    changed = [
        f"{package}.{message}.{name}"
        for package, contents in PACKAGES.items()
        for message, fields in contents["messages"].items()
        for name, field in fields.items()
        if "previous" in field
    ]
    assert changed == ["io.reader.ReadResponse.error", "net.conn.ReadResponse.error"]
    assert all(EXCEPTIONS[name] == BOTH_MEANINGS for name in changed)


def test_no_number_is_used_twice_in_a_message() -> None:
    fields = [
        (name.rpartition(".")[0], field.number)
        for name, field in our_elements().items()
        if isinstance(field, Field)
    ]
    assert [place for place, count in Counter(fields).items() if count > 1] == []


@pytest.mark.parametrize("protocol", ["41 and older", "42 and newer"])
@pytest.mark.parametrize("package", ["io.reader", "net.conn"])
def test_the_error_of_a_read_can_be_decoded_with_either_meaning(package: str, protocol: str) -> None:
    module = importlib.import_module(f"vmsdk._pb.{package}.{package.rpartition('.')[2]}_pb2")
    # Field 2, length-delimited: the string "EOF", or a message {1: 1, 2: "EOF"}.
    content = b"EOF" if protocol == "41 and older" else b"\x08\x01\x12\x03EOF"
    response = module.ReadResponse.FromString(b"\x0a\x04data\x12" + bytes([len(content)]) + content)
    assert (response.read, response.error) == (b"data", content)
    if protocol == "42 and newer":
        error = module.Error.FromString(response.error)
        assert (error.error_code, error.message) == (module.ERROR_CODE_EOF, "EOF")


@pytest.mark.parametrize("package", ["io.reader", "net.conn"])
def test_a_read_without_an_error_differs_from_a_read_with_an_empty_one(package: str) -> None:
    module = importlib.import_module(f"vmsdk._pb.{package}.{package.rpartition('.')[2]}_pb2")
    assert not module.ReadResponse.FromString(b"").HasField("error")
    assert module.ReadResponse.FromString(b"\x12\x00").HasField("error")


def our_tables() -> list[type[Service]]:
    return [
        table
        for module in modules("_grpc")
        for table in vars(module).values()
        if isinstance(table, type) and issubclass(table, Service) and table is not Service
    ]


def test_the_service_tables_have_the_paths_and_messages_of_the_schema() -> None:
    ours = {
        method.path: (
            wire_name(method.request.DESCRIPTOR.full_name),
            wire_name(method.response.DESCRIPTOR.full_name),
        )
        for table in our_tables()
        for method in table.methods.values()
    }
    wanted = {
        f"/{package}.{service}/{name}": (call["request"], call["response"])
        for package, contents in PACKAGES.items()
        for service, methods in contents["services"].items()
        for name, call in methods.items()
        if package != "grpc.health.v1"
    }
    assert ours == wanted


def test_the_service_tables_list_methods_in_the_order_of_the_protos() -> None:
    ours = {
        table.full_name: [(name, method.path) for name, method in table.methods.items()]
        for table in our_tables()
    }
    assert ours == {
        wire_name(f"{file.package}.{service.name}"): [
            (method.name, f"/{wire_name(file.package)}.{service.name}/{method.name}")
            for method in service.method
        ]
        for file in our_files()
        for service in file.service
        if file.package != "grpc.health.v1"
    }
