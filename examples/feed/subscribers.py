"""Subscriptions to accepted blocks: queues on the event loop, filled by the engine's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MAX_UNREAD = 1_000


class TooSlow(Exception):
    """A subscriber has left more than `MAX_UNREAD` blocks unread."""


class Subscription:
    """The blocks that one subscriber has not read yet."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._unread: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def put(self, block: dict[str, Any]) -> None:
        self._unread.put_nowait(block)

    async def next(self) -> dict[str, Any]:
        """The next block. Raises `TooSlow` if too many are unread."""
        if self._unread.qsize() > MAX_UNREAD:
            raise TooSlow
        return await self._unread.get()


class Subscribers:
    """All subscriptions."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    def publish(self, block: dict[str, Any]) -> None:
        """Send *block* to all subscribers. From any thread, without waiting for anyone."""
        for subscription in tuple(self._subscriptions):
            subscription.loop.call_soon_threadsafe(subscription.put, block)

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """Subscribe to the blocks accepted from now on. On the event loop only."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
