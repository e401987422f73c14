"""HTTP apps behind `HTTPServers` behind the host's HTTP front: everything but the VM's process is
real.
"""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests import transport
from tests.wire.http.node import DEADLINE_S, Caller
from vmsdk.host.http import HTTPFront
from vmsdk.ids import ID, NodeID
from vmsdk.protocol import NEWEST, protocol
from vmsdk.rpc.http import HTTPServers

CHAIN = ID(bytes(range(32)))
ALIAS = "chain"


class Served:
    """One chain's apps, reached through a node of one protocol version."""

    def __init__(self, apps: Mapping[str, Any], version: int, header_routed: Any = None) -> None:
        spoken = protocol(version)
        self.servers = HTTPServers(spoken, logging.getLogger("chain"), addresses=transport.addresses())
        addresses = {prefix: self.servers.serve(app, prefix=prefix) for prefix, app in apps.items()}
        routed = "" if header_routed is None else self.servers.serve(header_routed, prefix=None)
        self.front = HTTPFront(spoken, NodeID(bytes(20)))
        self.front.start()
        refused = self.front.add_chain(CHAIN, [ALIAS], addresses, routed)
        assert refused == []
        self.front.set_normal_op(CHAIN, True)
        self.origin = f"http://{self.front.address}"
        self.url = f"{self.origin}/ext/bc/{CHAIN}"
        self.ws = f"ws://{self.front.address}/ext/bc/{CHAIN}"

    def close(self) -> None:
        self.servers.close()
        self.front.stop()


Serve = Callable[..., Served]


Mount = Callable[..., Caller]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Serve an app at `/x`; returns what calls it like a node."""
    opened: list[Any] = []

    def mount(app: Any, version: int = NEWEST, prefix: str | None = "/x") -> Caller:
        servers = HTTPServers(protocol(version), logging.getLogger("chain"), addresses=transport.addresses())
        caller = Caller(servers.serve(app, prefix=prefix))
        opened.extend((servers, caller))
        return caller

    yield mount
    for each in opened:
        each.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that close give requests a minute to end: a busy machine may need more than half a
    second to send the last frame of a WebSocket.
    """
    for limit in ("REQUEST_GRACE_S", "CLOSE_TIMEOUT_S"):
        monkeypatch.setattr(f"vmsdk.rpc.http.servers.{limit}", DEADLINE_S)


@pytest.fixture
def serve(caplog: pytest.LogCaptureFixture) -> Iterator[Serve]:
    served: list[Served] = []
    before = set(threading.enumerate())

    def serve(apps: Mapping[str, Any], version: int = 45, header_routed: Any = None) -> Served:
        served.append(Served(apps, version, header_routed))
        return served[-1]

    yield serve
    for each in served:
        each.close()
    # grpcio ends its own thread when the last of its channels is collected; tracebacks hold some.
    caplog.get_records("call").clear()
    gc.collect()
    left = {thread for thread in threading.enumerate() if thread not in before and "AnyIO" not in thread.name}
    for thread in left:
        thread.join(DEADLINE_S)
    assert not [thread for thread in left if thread.is_alive()]
