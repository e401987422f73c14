"""The node around a network under test: records what is sent, and knows the validators."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from vmsdk.context import Context
from vmsdk.errors import NodeError
from vmsdk.ids import ID, NodeID
from vmsdk.nodeservices import AppSender, NodeServices, Validator, ValidatorState
from vmsdk.vm import NodeVersion

VERSION = NodeVersion("metalgo", 1, 13, 5)
SUBNET = ID.of(b"subnet")


def node_id(number: int) -> NodeID:
    return NodeID(number.to_bytes(20, "big"))


OWN = node_id(1_000_000)


@dataclass(frozen=True)
class Request:
    node_id: NodeID
    request_id: int
    request: bytes


@dataclass(frozen=True)
class Sent:
    """One message of gossip."""

    message: bytes
    node_ids: tuple[NodeID, ...] = ()
    validators: int = 0
    non_validators: int = 0
    peers: int = 0


class Node:
    """The services of a node, as far as peers need them."""

    def __init__(self, weights: Mapping[NodeID, int] | None = None) -> None:
        self.weights = dict(weights or {})
        self.fetched = 0
        self.refuses = False
        self.requests: list[Request] = []
        self.gossip: list[Sent] = []
        self.gossiped = threading.Event()
        self.sender = cast(AppSender, self)
        self.validators = cast(ValidatorState, self)

    def context(self) -> Context:
        return Context(node_id=OWN, subnet_id=SUBNET, services=cast(NodeServices, self))

    def send_app_request(self, node_ids: Iterable[NodeID], request_id: int, request: bytes) -> None:
        self._check()
        self.requests.extend(Request(node_id, request_id, request) for node_id in node_ids)

    def send_app_gossip(self, message: bytes, *, node_ids: Iterable[NodeID] = (), **counts: Any) -> None:
        self._check()
        self.gossip.append(Sent(message, tuple(node_ids), **counts))
        self.gossiped.set()

    def get_current_height(self) -> int:
        self._check()
        return 7

    def get_validator_set(self, height: int, subnet_id: ID) -> dict[NodeID, Validator]:
        assert (height, subnet_id) == (7, SUBNET)
        self.fetched += 1
        return {node_id: Validator(node_id, weight) for node_id, weight in self.weights.items()}

    def _check(self) -> None:
        if self.refuses:
            raise NodeError("a.method", "UNAVAILABLE", "the node refuses")


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
