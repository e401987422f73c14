"""A VM served over a real socket, with the development host's services on the other side."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import grpc
import pytest

from tests import transport
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.client import VMClient
from vmsdk.host.config import ChainConfig, local_upgrades, upgrades_message
from vmsdk.host.services import NodeServices
from vmsdk.protocol import NEWEST, protocol
from vmsdk.rpc.listener import bind
from vmsdk.rpc.server import VMServer
from vmsdk.rpc.session import Session
from vmsdk.state import State
from vmsdk.vm import ChainVM

CALL_TIMEOUT_S = PATIENCE_S = 60.0


class Served:
    """A VM on a socket, the node's services beside it, and a client that plays the node."""

    def __init__(self, vm: ChainVM, version: int = NEWEST, **config: Any) -> None:
        self.vm = vm
        self.config = replace(ChainConfig(protocol=protocol(version)), **config)
        self.services = NodeServices(self.config)
        listener, address = bind(transport.addresses())
        self.shutdowns: list[str] = []
        self.server = VMServer(
            vm,
            self.config.protocol,
            listener,
            addresses=transport.addresses(),
            log=logging.getLogger("test.vm"),
            on_shutdown=lambda: self.shutdowns.append("begun"),
        )
        self.client = VMClient(address, timeout_s=CALL_TIMEOUT_S)

    @property
    def session(self) -> Session:
        return self.server.session

    def request(self, **fields: Any) -> pb.InitializeRequest:
        """What a node sends at this version, with *fields* replaced; None leaves a field out."""
        config = self.config
        request = pb.InitializeRequest(
            network_id=config.network_id,
            subnet_id=config.subnet_id,
            chain_id=config.chain_id,
            node_id=config.identity.node_id,
            public_key=config.identity.public_key,
            x_chain_id=config.x_chain_id,
            c_chain_id=config.c_chain_id,
            avax_asset_id=config.avax_asset_id,
            genesis_bytes=config.genesis,
            config_bytes=config.config,
            db_server_addr=self.services.db_address,
            server_addr=self.services.address,
        )
        if config.protocol.network_upgrades:
            request.network_upgrades.CopyFrom(upgrades_message(local_upgrades(config.protocol)))
        for name, value in fields.items():
            if value is None:
                request.ClearField(name)  # type: ignore[arg-type]
            else:
                setattr(request, name, value)
        return request

    def initialize(self, **fields: Any) -> pb.InitializeResponse:
        return self.client.Initialize(self.request(**fields))

    def set_state(self, state: State | int) -> pb.SetStateResponse:
        return self.client.SetState(pb.SetStateRequest(state=pb.State.ValueType(int(state))))

    def run(self) -> Served:
        """Initialise, and go straight to normal operation."""
        self.initialize()
        self.set_state(State.BOOTSTRAPPING)
        self.set_state(State.NORMAL_OP)
        return self

    def __enter__(self) -> Served:
        self.services.start()
        self.server.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.session.events.close()
        self.server.stop(0)
        self.session.disconnect()
        self.client.close()
        self.services.stop()


Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve a VM at a protocol version until the end of the test; initialised unless told
    otherwise.
    """
    with ExitStack() as stack:

        def start(vm: ChainVM, version: int = NEWEST, *, run: bool = True, **config: Any) -> Served:
            served = stack.enter_context(Served(vm, version, **config))
            return served.run() if run else served

        yield start


def refused(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    """The status with which *call* fails."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details() or ""


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until *condition* holds, or fail after a minute."""
    deadline_s, turns = time.monotonic() + PATIENCE_S, threading.Event()
    while not condition():
        assert time.monotonic() < deadline_s, "it never came to be"
        turns.wait(0.01)
