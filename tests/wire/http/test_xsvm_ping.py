"""The Ping service of examples/xsvm, called through the node's HTTP front."""

from __future__ import annotations

import sys
from pathlib import Path

import grpc
import httpx
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from tests.wire.http.conftest import CHAIN, Serve

pytest.importorskip("connectrpc", reason="connectrpc needs Python 3.11")
pytest.importorskip("grpc_reflection", reason="the service's reflection needs grpcio-reflection")
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "examples" / "xsvm"))

from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse
from xsvm.ping import MESSAGES, PingApplication

ROUTE = "avalanche-api-route"
DEADLINE_S = 60.0


@pytest.mark.parametrize("version", [43, 45])
def test_grpc_gets_back_what_it_sends(serve: Serve, version: int) -> None:
    served = serve({}, version, header_routed=PingApplication())
    metadata = ((ROUTE, str(CHAIN)),)
    with grpc.insecure_channel(served.front.address) as channel:
        ping = channel.unary_unary(
            "/xsvm.Ping/Ping",
            request_serializer=MESSAGES["PingRequest"].SerializeToString,
            response_deserializer=MESSAGES["PingReply"].FromString,
        )
        request = MESSAGES["PingRequest"](message="hello")
        assert ping(request, metadata=metadata, timeout=DEADLINE_S).message == "hello"
        stream = channel.stream_stream(
            "/xsvm.Ping/StreamPing",
            request_serializer=MESSAGES["StreamPingRequest"].SerializeToString,
            response_deserializer=MESSAGES["StreamPingReply"].FromString,
        )
        requests = (MESSAGES["StreamPingRequest"](message=f"ping-{number}") for number in range(10))
        replies = stream(requests, metadata=metadata, timeout=DEADLINE_S)
        assert [reply.message for reply in replies] == [f"ping-{number}" for number in range(10)]


def test_connect_takes_json(serve: Serve) -> None:
    served = serve({}, 45, header_routed=PingApplication())
    response = httpx.post(
        f"{served.origin}/xsvm.Ping/Ping",
        json={"message": "hello"},
        headers={ROUTE: str(CHAIN), "connect-protocol-version": "1"},
        timeout=DEADLINE_S,
    )
    assert (response.status_code, response.json()) == (200, {"message": "hello"})


def test_reflection_describes_the_service(serve: Serve) -> None:
    served = serve({}, 45, header_routed=PingApplication())
    with grpc.insecure_channel(served.front.address) as channel:
        reflect = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=ServerReflectionRequest.SerializeToString,
            response_deserializer=ServerReflectionResponse.FromString,
        )
        requests = (
            ServerReflectionRequest(list_services=""),
            ServerReflectionRequest(file_containing_symbol="xsvm.Ping"),
            ServerReflectionRequest(file_containing_symbol="xsvm.Pong"),
        )
        listed, found, missing = reflect(iter(requests), metadata=((ROUTE, str(CHAIN)),), timeout=DEADLINE_S)
    assert [each.name for each in listed.list_services_response.service] == ["xsvm.Ping"]
    (raw,) = found.file_descriptor_response.file_descriptor_proto
    (service,) = FileDescriptorProto.FromString(raw).service
    assert [(each.name, each.server_streaming) for each in service.method] == [
        ("Ping", False),
        ("StreamPing", True),
    ]
    assert missing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
