"""Node services over real sockets, and a chain whose VM runs in the test's own process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest

from tests.process.plugins.bare_vm import BareVM, serve
from tests.wire.host.rawstub import DEADLINE_S, RawStub
from vmsdk._pb._service import Service
from vmsdk._pb.rpcdb.rpcdb_grpc import Database
from vmsdk.host.chain import Chain
from vmsdk.host.client import VMClient
from vmsdk.host.config import ChainConfig
from vmsdk.host.errors import ChainFatal
from vmsdk.host.services import NodeServices
from vmsdk.protocol import protocol


@pytest.fixture
def resources() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start_services(resources: ExitStack) -> Callable[..., NodeServices]:
    """Starts node services of one protocol version; further arguments are fields of
    `ChainConfig`.
    """

    def start(version: int = 45, *, app_timeout_s: float = DEADLINE_S, **fields: Any) -> NodeServices:
        config = ChainConfig(protocol=protocol(version), **fields)
        return resources.enter_context(NodeServices(config, app_timeout_s=app_timeout_s))

    return start


@pytest.fixture
def services(start_services: Callable[..., NodeServices]) -> NodeServices:
    return start_services()


@pytest.fixture
def stub(resources: ExitStack) -> Callable[[str, type[Service]], RawStub]:
    """Makes a raw client of a service at an address."""

    def make(address: str, service: type[Service]) -> RawStub:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        return RawStub(resources.enter_context(grpc.insecure_channel(address, options)), service)

    return make


@pytest.fixture
def db(services: NodeServices, stub: Callable[[str, type[Service]], RawStub]) -> RawStub:
    """A raw client of the chain's database."""
    return stub(services.db_address, Database)


@pytest.fixture
def start_chain(resources: ExitStack, start_services: Callable[..., NodeServices]) -> Callable[..., Chain]:
    """Makes a chain that drives *vm* over a real socket; not started yet."""

    def start(
        vm: BareVM,
        version: int = 45,
        *,
        on_fault: Callable[[ChainFatal], None] | None = None,
        **fields: Any,
    ) -> Chain:
        services = start_services(version, **fields)
        server, address = serve(vm)
        resources.callback(lambda: server.stop(None).wait())
        client = VMClient(address, timeout_s=DEADLINE_S)
        resources.callback(client.close)
        chain = Chain(client, services, on_fault=on_fault)
        resources.callback(chain.end_events)
        return chain

    return start
