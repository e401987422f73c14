"""Who wants to hear of accepted blocks: queues on the event loop, filled by the engine's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MAX_UNREAD = 1_000


class TooSlow(Exception):
    """A subscriber has let `MAX_UNREAD` blocks pile up."""


class Subscription:
    """The blocks that one subscriber has not taken yet."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._unread: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def put(self, block: dict[str, Any]) -> None:
        self._unread.put_nowait(block)

    async def next(self) -> dict[str, Any]:
        """The next block. Raises `TooSlow` once too many wait."""
        if self._unread.qsize() > MAX_UNREAD:
            raise TooSlow
        return await self._unread.get()


class Subscribers:
    """All subscriptions."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    def publish(self, block: dict[str, Any]) -> None:
        """Tell everyone of *block*; from any thread, and without waiting for anyone."""
        for subscription in tuple(self._subscriptions):
            subscription.loop.call_soon_threadsafe(subscription.put, block)

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """A subscription, from now on. On the event loop only."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
