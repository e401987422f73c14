"""The feed of accepted blocks: each exactly once and in order, from any height on."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from typing_extensions import Self

from vmsdk.chain.state import as_height
from vmsdk.errors import NotFound

WINDOW_BLOCKS = 256
"""The number of recent blocks in memory, shared by all readers."""
WINDOW_BYTES = 4 * 1024 * 1024
PAGE_BLOCKS = 256
"""The maximum number of blocks that a reader loads from the database at a time."""
PAGE_BYTES = 1024 * 1024
"""The approximate maximum size of such a page, estimated from the last page's blocks."""
FIRST_PAGE_BLOCKS = 16
MAX_REASON_BYTES = 123
"""Of the close of a WebSocket (RFC 6455, 5.5)."""

# "Service restart", from the IANA registry that extends RFC 6455, section 7.4.1. vmsdk's server
# closes WebSockets with it, too, so clients get the same code whichever closes first.
_RESTARTING = 1012


class AcceptedBlock(Protocol):
    """What the feed needs from a block."""

    @property
    def height(self) -> int: ...
    @property
    def raw(self) -> bytes: ...


class TextWebSocket(Protocol):
    """What the feed needs from a FastAPI or Starlette `WebSocket`."""

    async def accept(self) -> None: ...
    async def receive(self) -> MutableMapping[str, Any]: ...
    async def send_text(self, data: str) -> None: ...
    async def close(self, code: int, reason: str | None) -> None: ...


BlockT = TypeVar("BlockT", bound=AcceptedBlock)


class Feed(Generic[BlockT]):
    """The accepted blocks of one chain, for any number of readers at any pace.

    Readers have positions, not queues: recent blocks come from a window that all readers share,
    older ones from the database, in pages. So a slow reader takes no more memory than a fast one,
    and never delays the chain.
    """

    def __init__(self, blocks: Callable[[int, int], Sequence[BlockT]], height: Callable[[], int]) -> None:
        """`blocks(start, limit)` reads stored blocks in order, `height()` returns the height of the
        last accepted one. Both are called from any thread.
        """
        self._stored = blocks
        self._height = height
        self._window: deque[BlockT] = deque()
        self._window_bytes = 0
        self._changed = threading.Condition()
        self._waiting: dict[asyncio.AbstractEventLoop, set[asyncio.Future[None]]] = {}
        self._closed = False

    @property
    def height(self) -> int:
        """The height of the last accepted block."""
        return self._height()

    def publish(self, block: BlockT) -> None:
        """Add a block that was just accepted. Never waits for readers."""
        with self._changed:
            if self._window and block.height != self._window[-1].height + 1:
                self._window.clear()  # state sync has skipped some
                self._window_bytes = 0
            self._window.append(block)
            self._window_bytes += len(block.raw)
            while len(self._window) > WINDOW_BLOCKS or self._window_bytes > WINDOW_BYTES:
                self._window_bytes -= len(self._window.popleft().raw)
            self._wake()

    def close(self) -> None:
        """Stop all readers: their loops end after the blocks that they have already loaded."""
        with self._changed:
            self._closed = True
            self._wake()

    def blocks(self, start: int | None = None, *, timeout: float | None = None) -> Reader[BlockT]:
        """The blocks from height *start* on, by default those accepted from now on.

        Use the result in a single `for` or `async for` loop. The loop ends when the chain stops, or
        if no block is accepted for *timeout* seconds; 0 reads only existing blocks. The loop raises
        `NotFound` if the next block is not stored.
        """
        if start is None:
            start = self.height + 1
        elif as_height(start) != start:
            raise NotFound(f"no block has height {start}")
        if timeout is not None and not isinstance(timeout, (int, float)):
            raise TypeError(f"timeout is {timeout!r}: give a number of seconds, or None to wait forever")
        return Reader(self, start, timeout)

    def subscription(self, convert: Callable[[BlockT], Any]) -> Callable[..., AsyncIterator[Any]]:
        """A source for `vmsdk.http.Subscriptions` that yields `convert(block)`, a JSON value.

        Clients may pass a height, `start`; by default they get the blocks accepted from now on.
        """

        def source(start: int | None = None) -> AsyncIterator[Any]:
            reader = self.blocks(start)

            async def converted() -> AsyncIterator[Any]:
                async for block in reader:
                    yield convert(block)

            return converted()

        return source

    async def send_to(
        self, websocket: TextWebSocket, convert: Callable[[BlockT], Any], start: int | None = None
    ) -> None:
        """Send `convert(block)` as JSON for each block, until the client disconnects or the chain
        stops.

        *websocket* is the argument of a FastAPI or Starlette endpoint, not yet accepted. It is
        closed with code 1008 and a reason if a block is not stored, or with 1012 (service restart)
        if the chain stops.
        """
        await websocket.accept()
        sender = asyncio.ensure_future(self._send(websocket, convert, start))
        receiver = asyncio.ensure_future(_wait_for_disconnect(websocket))
        try:
            await asyncio.wait((sender, receiver), return_when=asyncio.FIRST_COMPLETED)
            if not receiver.done():
                code, reason = sender.result()
                with suppress(Exception):  # the client may disconnect at the same time
                    await websocket.close(code, reason)
        finally:
            sender.cancel()
            receiver.cancel()

    async def _send(
        self, websocket: TextWebSocket, convert: Callable[[BlockT], Any], start: int | None
    ) -> tuple[int, str]:
        try:
            async for block in self.blocks(start):
                text = json.dumps(convert(block))
                try:
                    await websocket.send_text(text)
                except Exception:  # noqa: BLE001 - the client has disconnected, as the receiver will see
                    break
        except NotFound as error:
            return 1008, str(error)[:MAX_REASON_BYTES]
        return _RESTARTING, "the chain is shutting down"

    # For readers ----------------------------------------------------------------------------------

    def recent(self, height: int) -> BlockT | None:
        """The block at *height* if it is in the window, or None."""
        with self._changed:
            if not self._window or not self._window[0].height <= height <= self._window[-1].height:
                return None
            return self._window[height - self._window[0].height]

    def page(self, start: int, limit: int) -> Sequence[BlockT]:
        """At most *limit* consecutive blocks from *start* on, from the database.

        Raises `NotFound` if there is none.
        """
        page = self._stored(start, limit)
        if not page or page[0].height != start:
            reason = f"the first one after it has height {page[0].height}" if page else "nor is any after it"
            raise NotFound(f"the block at height {start} is not stored on this node; {reason}")
        # State sync may have left a gap.
        return [block for offset, block in enumerate(page) if block.height == start + offset]

    def wait(self, height: int, timeout_s: float | None) -> bool:
        """Wait until the block at *height* is accepted. False on a timeout and after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self.height >= height, timeout_s)
            return not self._closed and self.height >= height

    async def wait_async(self, height: int, timeout_s: float | None) -> bool:
        """Like `wait`, for an event loop."""
        loop = asyncio.get_running_loop()
        deadline_s = None if timeout_s is None else loop.time() + timeout_s
        while True:
            with self._changed:
                if self._closed or self.height >= height:
                    return not self._closed
                woken = loop.create_future()
                self._waiting.setdefault(loop, set()).add(woken)
            left_s = None if deadline_s is None else deadline_s - loop.time()
            try:
                await asyncio.wait_for(woken, left_s)
            except asyncio.TimeoutError:
                return False
            finally:
                if woken.cancelled():  # by the timeout, or with the reader
                    with self._changed:
                        self._forget(loop, woken)

    def _forget(self, loop: asyncio.AbstractEventLoop, woken: asyncio.Future[None]) -> None:
        futures = self._waiting.get(loop, set())
        futures.discard(woken)
        if not futures:
            self._waiting.pop(loop, None)

    def _wake(self) -> None:
        self._changed.notify_all()
        waiting, self._waiting = self._waiting, {}
        for loop, futures in waiting.items():
            try:
                loop.call_soon_threadsafe(_finish, futures)
            except RuntimeError:
                pass  # the loop is closed


async def _wait_for_disconnect(websocket: TextWebSocket) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


def _finish(futures: set[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


class Reader(Generic[BlockT], Iterator[BlockT], AsyncIterator[BlockT]):
    """One reader's position in the feed. Use it in one thread or task at a time."""

    def __init__(self, feed: Feed[BlockT], start: int, timeout_s: float | None) -> None:
        self._feed = feed
        self._timeout_s = timeout_s
        self._page: deque[BlockT] = deque()
        self._limit = FIRST_PAGE_BLOCKS
        self.position = start
        """The height of the next block."""

    def __iter__(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        return self

    def __next__(self) -> BlockT:
        if not self._page and not self._feed.wait(self.position, self._timeout_s):
            raise StopIteration
        block = self._take()
        return self._read() if block is None else block

    async def __anext__(self) -> BlockT:
        if not self._page and not await self._feed.wait_async(self.position, self._timeout_s):
            raise StopAsyncIteration
        block = self._take()
        # Reading the database is a call to the node, which blocks.
        return await asyncio.to_thread(self._read) if block is None else block

    def _take(self) -> BlockT | None:
        """The next block if it is in memory, or None."""
        block = self._page.popleft() if self._page else self._feed.recent(self.position)
        if block is not None:
            self.position += 1
        return block

    def _read(self) -> BlockT:
        """The next block, from the database."""
        page = self._feed.page(self.position, self._limit)
        average = max(1, sum(len(block.raw) for block in page) // len(page))
        self._limit = max(1, min(PAGE_BYTES // average, PAGE_BLOCKS))
        self._page.extend(page)
        self.position += 1
        return self._page.popleft()
