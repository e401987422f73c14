"""The service `vm.runtime.Runtime`, over the wire."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import grpc
import pytest

from tests.wire.host.rawstub import RawStub, error_of
from vmsdk._pb._service import Service
from vmsdk._pb.vm.runtime import runtime_pb2 as pb
from vmsdk._pb.vm.runtime.runtime_grpc import Runtime
from vmsdk.host.runtime import RuntimeService
from vmsdk.host.service import LoopbackServer
from vmsdk.protocol import protocol

UNKNOWN = grpc.StatusCode.UNKNOWN
MakeRuntime = Callable[[int], tuple[RuntimeService, RawStub]]


@pytest.fixture
def start(resources: ExitStack, stub: Callable[[str, type[Service]], RawStub]) -> MakeRuntime:
    def start(version: int) -> tuple[RuntimeService, RawStub]:
        service = RuntimeService(protocol(version), "/plugins/vm")
        server = LoopbackServer(service, health_service=False)
        resources.callback(server.stop)
        server.start()
        return service, stub(server.address, Runtime)

    return start


def announce(version: int, address: str = "127.0.0.1:1") -> pb.InitializeRequest:
    return pb.InitializeRequest(protocol_version=version, addr=address)


def test_an_equal_version_is_taken_with_its_address_unchecked(start: MakeRuntime) -> None:
    service, runtime = start(45)
    runtime.Initialize(announce(45, "anything"))
    assert service.wait(0)
    assert service.address == "anything"


def test_edge_5_a_second_call_after_success_succeeds_and_changes_nothing(start: MakeRuntime) -> None:
    service, runtime = start(45)
    runtime.Initialize(announce(45, "127.0.0.1:1"))
    runtime.Initialize(announce(45, "127.0.0.1:2"))
    runtime.Initialize(announce(9, "127.0.0.1:3"))
    assert service.address == "127.0.0.1:1"
    assert service.refusal is None


def test_edge_5_a_second_call_after_a_mismatch_gets_the_same_error(start: MakeRuntime) -> None:
    service, runtime = start(45)
    first = error_of(runtime.Initialize, announce(44))
    assert error_of(runtime.Initialize, announce(45)) == first
    assert service.address is None


def test_without_a_call_waiting_ends_with_the_timeout(start: MakeRuntime) -> None:
    service, _ = start(45)
    assert not service.wait(0.01)


REST = (
    "Please make sure that there is an exact match of the protocol versions. This can be achieved "
    "by updating "
    "your VM or running an older/newer version of AvalancheGo. Please be advised that some virtual "
    "machines may "
    "not yet support the latest RPCChainVM protocol version"
)


@pytest.mark.parametrize(
    ("version", "release", "located"),
    [
        (35, "v1.11.9", ""),
        (36, "v1.11.10", " located at /plugins/vm"),
        (43, "v1.13.5", " located at /plugins/vm"),
        (44, "avalanchego/1.14.1", " located at /plugins/vm"),
        (45, "avalanchego/1.14.2", " located at /plugins/vm"),
        (46, "avalanchego/1.15.0-fuji", " located at /plugins/vm"),
    ],
)
def test_edge_4_a_mismatch_has_the_text_of_that_versions_node(
    start: MakeRuntime, version: int, release: str, located: str
) -> None:
    _, runtime = start(version)
    assert error_of(runtime.Initialize, announce(19)) == (
        UNKNOWN,
        (
            "RPCChainVM protocol version mismatch between AvalancheGo and Virtual Machine plugin. "
            f"AvalancheGo version {release} implements RPCChainVM protocol version {version}. "
            f"The VM{located} implements RPCChainVM protocol version 19. {REST}"
        ),
    )


def test_there_is_no_health_service(start: MakeRuntime, resources: ExitStack) -> None:
    server = LoopbackServer(RuntimeService(protocol(45), "vm"), health_service=False)
    resources.callback(server.stop)
    server.start()
    with grpc.insecure_channel(server.address) as channel:
        check: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
        code, _ = error_of(lambda request: check(request, timeout=60), b"")
    assert code is grpc.StatusCode.UNIMPLEMENTED
