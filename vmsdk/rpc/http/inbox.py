"""Messages that a WebSocket's client has sent and the app has not asked for yet."""

from __future__ import annotations

import asyncio
from collections import deque

from vmsdk.http.asgi import Message

MAX_MESSAGES = 64
MAX_BYTES = 1024 * 1024


class Inbox:
    """A queue between the connection's reader and the app; when it is full the reader waits.

    Holds `MAX_MESSAGES`, and `MAX_BYTES` before the last of them.
    """

    def __init__(self) -> None:
        self._messages: deque[tuple[Message, int]] = deque()
        self._bytes = 0
        self._end: Message | None = None
        self._changed = asyncio.Event()

    def put(self, message: Message, size: int) -> None:
        """Add a message of *size* bytes; dropped after the end."""
        if self._end is not None:
            return
        self._messages.append((message, size))
        self._bytes += size
        self._changed.set()

    def end(self, message: Message) -> None:
        """Add the last message, which `get` then repeats. Only the first call counts."""
        if self._end is None:
            self._end = message
            self._changed.set()

    async def get(self) -> Message:
        """The next message."""
        while not self._messages:
            if self._end is not None:
                return self._end
            self._changed.clear()
            await self._changed.wait()
        message, size = self._messages.popleft()
        self._bytes -= size
        self._changed.set()
        return message

    async def room(self) -> None:
        """Wait until there is room for another message, or nobody will ask for one."""
        while self._end is None and (len(self._messages) >= MAX_MESSAGES or self._bytes >= MAX_BYTES):
            self._changed.clear()
            await self._changed.wait()
