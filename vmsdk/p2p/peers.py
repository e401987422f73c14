"""The peers and validators of a chain."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from vmsdk.context import Context
from vmsdk.errors import VMError
from vmsdk.ids import NodeID
from vmsdk.vm import NodeVersion

MAX_AGE_S = 60.0
RETRY_S = 5.0
"""The delay until the next request after the node failed to return the validators."""


class Peers:
    """The connected nodes that track this chain's subnet, including this one. Thread-safe."""

    def __init__(self) -> None:
        self._versions: dict[NodeID, NodeVersion] = {}

    def connected(self, node_id: NodeID, version: NodeVersion) -> None:
        """Add a peer."""
        self._versions[node_id] = version

    def disconnected(self, node_id: NodeID) -> None:
        """Remove a peer."""
        self._versions.pop(node_id, None)

    def version(self, node_id: NodeID) -> NodeVersion | None:
        """The version of the node software of a peer, or None if it is not connected."""
        return self._versions.get(node_id)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._versions

    def __len__(self) -> int:
        return len(self._versions)

    def sample(self, limit: int) -> list[NodeID]:
        """Up to *limit* peers, at random."""
        node_ids = list(self._versions)
        return random.sample(node_ids, min(limit, len(node_ids)))


class Validators:
    """The validators of this chain's subnet at the P-chain's current height. Thread-safe.

    The set is fetched on first use, and again when it is *max_age_s* seconds old. If that fails,
    the old set stays. It is empty on networks without sybil protection.
    """

    def __init__(
        self,
        ctx: Context,
        peers: Peers,
        *,
        max_age_s: float = MAX_AGE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ctx = ctx
        self._peers = peers
        self._max_age_s = max_age_s
        self._clock = clock
        self._fetching = threading.Lock()
        self._expires = float("-inf")
        self._failing = False
        self._weights: dict[NodeID, int] = {}

    def __contains__(self, node_id: object) -> bool:
        """Whether the node is a connected validator."""
        return node_id in self._peers and node_id in self._current()

    def __len__(self) -> int:
        """The number of connected validators."""
        return sum(node_id in self._peers for node_id in self._current())

    def sample(self, limit: int) -> list[NodeID]:
        """Up to *limit* connected validators, at random, regardless of their stake."""
        node_ids = [node_id for node_id in self._current() if node_id in self._peers]
        return random.sample(node_ids, min(limit, len(node_ids)))

    def top(self, percent: int) -> list[NodeID]:
        """The validators with the most stake, which together have *percent* of it. They need not be
        connected.
        """
        weights = self._current()
        target = -(-sum(weights.values()) * percent // 100)
        chosen = []
        stake = 0
        for node_id in sorted(weights, key=lambda node_id: (-weights[node_id], node_id)):
            if stake >= target:
                break
            chosen.append(node_id)
            stake += weights[node_id]
        return chosen

    def _current(self) -> dict[NodeID, int]:
        if self._clock() >= self._expires:
            with self._fetching:
                if self._clock() >= self._expires:
                    self._fetch()
        return self._weights

    def _fetch(self) -> None:
        try:
            state = self._ctx.validators
            found = state.get_validator_set(state.get_current_height(), self._ctx.subnet_id)
        except VMError as error:
            level = logging.DEBUG if self._failing else logging.WARNING
            self._ctx.log.log(level, "can't get the validators from the node, will try again: %s", error)
            self._failing = True
            self._expires = self._clock() + RETRY_S
            return
        self._failing = False
        # The node lists inactive L1 validators under the empty node ID.
        self._weights = {node_id: v.weight for node_id, v in found.items() if node_id != NodeID.EMPTY}
        self._expires = self._clock() + self._max_age_s
