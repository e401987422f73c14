from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.wire.host_http.fakevm import FakeVM
from vmsdk.host.http import HTTPFront
from vmsdk.ids import ID, NodeID
from vmsdk.protocol import protocol

CHAIN = ID.of(b"a chain")
NODE = NodeID(bytes(range(20)))

StartFront = Callable[..., HTTPFront]


@pytest.fixture
def vm() -> Iterator[FakeVM]:
    fake = FakeVM()
    yield fake
    fake.stop()


@pytest.fixture
def start_front(vm: FakeVM) -> Iterator[StartFront]:
    """Starts a front of a protocol version with the fake VM's chain, normally operating, alias
    `fake`.
    """
    fronts: list[HTTPFront] = []

    def start(
        version: int = 45, *, handlers: Any = None, http_handler: str | None = None, **settings: Any
    ) -> HTTPFront:
        front = HTTPFront(protocol(version), NODE, **settings)
        fronts.append(front)
        front.start()
        header_routed = vm.address if http_handler is None else http_handler
        front.add_chain(CHAIN, ["fake"], {"": vm.address} if handlers is None else handlers, header_routed)
        front.set_normal_op(CHAIN, True)
        return front

    yield start
    for front in fronts:
        front.stop()
