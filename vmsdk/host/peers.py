"""Other nodes, as tests and developers play them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vmsdk.errors import AppError
from vmsdk.ids import NodeID

Answer = Callable[["bytes | AppError"], None]


@dataclass(frozen=True)
class PeerRequest:
    """A request that the VM sent to a peer. Answer it once, from any thread, or let it time out."""

    node_id: NodeID
    """The peer that is asked."""
    request_id: int
    data: bytes
    _answer: Answer = field(repr=False)

    def respond(self, response: bytes) -> None:
        """Answer with *response*; too late or again, it is dropped as a node drops it."""
        self._answer(response)

    def fail(self, code: int, message: str) -> None:
        """Refuse with an application error."""
        self._answer(AppError(code, message))


@dataclass
class Peer:
    """One other node. This one is silent: override the two methods, or give functions for them."""

    node_id: NodeID
    is_validator: bool = True
    """Whether gossip to validators may reach it."""
    connected: bool = True
    """Whether messages reach it; otherwise a request to it fails at once."""
    name: str = "metalgo"
    """The client name and version that `Connected` tells the VM."""
    version: tuple[int, int, int] = (1, 13, 5)
    on_request: Callable[[PeerRequest], None] | None = None
    on_gossip: Callable[[bytes], None] | None = None

    def app_request(self, request: PeerRequest) -> None:
        """The VM asks this peer."""
        if self.on_request is not None:
            self.on_request(request)

    def app_gossip(self, message: bytes) -> None:
        """The VM's gossip reaches this peer."""
        if self.on_gossip is not None:
            self.on_gossip(message)
