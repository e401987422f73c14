"""One request on its way through an app: what HandleSimple and Handle have in common."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import ClassVar

from vmsdk.http.asgi import Message, Scope


class ClientDisconnected(ConnectionError):
    """The client went away, so nothing can be sent to it (an `OSError`, as ASGI 2.4 has it)."""

    def __init__(self) -> None:
        super().__init__("the client has disconnected")


class Exchange(ABC):
    """A request and its response. `receive` and `send` are the app's, the rest is the server's."""

    is_stream: ClassVar[bool]
    """Whether it may go on for long, with connections of its own."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.gone = False
        """Whether the client has left."""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends when the response is complete or given up; the app may run on (background tasks)."""
        self._left: asyncio.Future[None] | None = None

    # The app's side --------------------------------------------------------------------------------

    @abstractmethod
    async def receive(self) -> Message:
        """The next event for the app."""

    @abstractmethod
    async def send(self, message: Message) -> None:
        """An event of the app."""

    # The server's side -----------------------------------------------------------------------------

    def disconnect(self) -> None:
        """The client has left: the app's `receive` says so, and its `send` raises `ClientDisconnected`."""
        self.gone = True
        self.finish()

    def finish(self) -> None:
        """The response has ended, one way or another."""
        if not self.done.done():
            self.done.set_result(None)
        if self._left is not None and not self._left.done():
            self._left.set_result(None)

    @abstractmethod
    async def ended(self) -> None:
        """The app has returned. Raises `InvalidResponse` if it left its response unfinished."""

    async def close(self) -> None:
        """The app has ended, somehow: free what the exchange holds."""

    @abstractmethod
    async def fail(self, status: int, text: str) -> None:
        """Answer with a plain text of the server's own, if nothing was sent yet."""

    # For subclasses --------------------------------------------------------------------------------

    @property
    def left(self) -> asyncio.Future[None]:
        """Done when there is nobody left to send to."""
        if self._left is None:
            self._left = asyncio.get_running_loop().create_future()
            if self.done.done():
                self._left.set_result(None)
        return self._left

    async def _until_left(self) -> None:
        await asyncio.wait([self.left])
