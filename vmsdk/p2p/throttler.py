"""Throttling: limits the messages of each peer."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from vmsdk.errors import AppError
from vmsdk.ids import NodeID
from vmsdk.p2p.handler import Handler
from vmsdk.timestamp import Timestamp

MAX_TRACKED_PEERS = 10_000
"""Peers counted in one period. Beyond that, the count of the first one is dropped."""


class SlidingWindow:
    """Counts each peer's messages over the last *period_s* seconds, like Go's library. Thread-safe.

    The count is that of the current period, plus the share of the previous one that still overlaps.
    *limit* may be a function, for a limit that changes.
    """

    def __init__(
        self,
        period_s: float,
        limit: float | Callable[[], float],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._period_s = period_s
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._start = clock()
        self._current: OrderedDict[NodeID, float] = OrderedDict()
        self._previous: OrderedDict[NodeID, float] = OrderedDict()

    def allow(self, node_id: NodeID, messages: float = 1) -> bool:
        """Count *messages* of a peer. Returns False if the peer had already reached the limit."""
        limit = self._limit() if callable(self._limit) else self._limit
        with self._lock:
            since_start = self._rotate()
            current = self._current.get(node_id, 0)
            if node_id not in self._current and len(self._current) >= MAX_TRACKED_PEERS:
                self._current.popitem(last=False)
            self._current[node_id] = current + messages
            overlap = 1 - since_start / self._period_s
            return current + overlap * self._previous.get(node_id, 0) < limit

    def _rotate(self) -> float:
        """Start a new period if the current one is over. Returns the seconds since the start."""
        now = self._clock()
        elapsed = now - self._start
        if elapsed < self._period_s:
            return elapsed
        self._previous = self._current if elapsed < 2 * self._period_s else OrderedDict()
        self._current = OrderedDict()
        self._start = now
        return 0


class Throttled(Handler):
    """Refuses the messages of peers that send more than *throttler* allows."""

    def __init__(self, handler: Handler, throttler: SlidingWindow) -> None:
        self._handler = handler
        self._throttler = throttler

    def app_request(self, node_id: NodeID, deadline: Timestamp, request: bytes) -> bytes:
        if not self._throttler.allow(node_id):
            raise throttled()
        return self._handler.app_request(node_id, deadline, request)

    def app_gossip(self, node_id: NodeID, message: bytes) -> None:
        if self._throttler.allow(node_id):
            self._handler.app_gossip(node_id, message)


def throttled() -> AppError:
    """The error for a peer that sends too many requests."""
    return AppError(AppError.THROTTLED, "throttled")
