"""`vmsdk.chain.Feed`: accepted blocks, exactly once and in order, for readers at any pace."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.websockets import WebSocket

from vmsdk.chain import feed as feed_module
from vmsdk.chain.feed import Feed
from vmsdk.errors import NotFound

DEADLINE_S = 60.0


@dataclass(frozen=True)
class Block:
    height: int
    raw: bytes = b"block"


class Store:
    """Accepted blocks in memory, with the feed that announces them."""

    def __init__(self, blocks: int = 1) -> None:
        self.kept: list[Block] = [Block(height) for height in range(blocks)]
        self.reads: list[tuple[int, int]] = []
        self.feed = Feed(self.blocks, lambda: self.height)

    @property
    def height(self) -> int:
        return self.kept[-1].height if self.kept else -1

    def blocks(self, start: int, limit: int) -> Sequence[Block]:
        self.reads.append((start, limit))
        return [block for block in self.kept if block.height >= start][:limit]

    def accept(self, count: int = 1, raw: bytes = b"block") -> None:
        for _ in range(count):
            block = Block(self.height + 1, raw)
            self.kept.append(block)
            self.feed.publish(block)


def heights(blocks: Any) -> list[int]:
    return [block.height for block in blocks]


def test_stored_blocks_come_first_and_then_accepted_ones() -> None:
    store = Store(3)
    reader = store.feed.blocks(1, timeout=0)
    assert heights(reader) == [1, 2]
    store.accept(2)
    assert heights(reader) == [3, 4]
    assert reader.position == 5


def test_without_a_start_the_feed_begins_with_the_next_block() -> None:
    store = Store(3)
    reader = store.feed.blocks(timeout=0)
    store.accept()
    assert heights(reader) == [3]


def test_a_start_above_the_last_block_waits_for_it() -> None:
    store = Store(1)
    reader = store.feed.blocks(3, timeout=0)
    store.accept(2)
    assert heights(reader) == []
    store.accept(2)
    assert heights(reader) == [3, 4]


def test_recent_blocks_are_read_from_memory_and_old_ones_in_pages() -> None:
    store = Store(1)
    store.accept(feed_module.WINDOW_BLOCKS + 10)
    assert heights(store.feed.blocks(11, timeout=0)) == list(range(11, store.height + 1))
    assert store.reads == []
    assert heights(store.feed.blocks(0, timeout=0)) == list(range(store.height + 1))
    assert store.reads == [(0, feed_module.FIRST_PAGE_BLOCKS)]


def test_pages_shrink_when_blocks_are_large_and_the_window_is_bounded_in_bytes() -> None:
    store = Store(0)
    store.accept(40, raw=bytes(512 * 1024))
    reader = store.feed.blocks(0, timeout=0)
    assert heights(reader) == list(range(40))
    assert store.reads[:2] == [(0, 16), (16, 2)]
    # The last 8 blocks fill the window.
    assert store.reads[-1] == (30, 2)


@pytest.mark.parametrize("start", [0, 3, 6])
def test_blocks_that_are_not_stored_any_more_are_an_error_and_never_a_gap(start: int) -> None:
    store = Store(10)
    del store.kept[:7]
    with pytest.raises(NotFound, match=rf"height {start} is not stored .* first one after it has height 7"):
        next(store.feed.blocks(start))


def test_a_jump_of_state_sync_is_an_error_for_a_reader_before_it() -> None:
    store = Store(2)
    store.accept()
    reader = store.feed.blocks()
    store.kept = [Block(900)]
    store.feed.publish(store.kept[0])
    with pytest.raises(NotFound, match=r"height 3 is not stored .* height 900"):
        next(reader)
    store.accept()
    assert heights(store.feed.blocks(900, timeout=0)) == [900, 901]


def test_a_jump_of_state_sync_within_a_page_is_an_error_too() -> None:
    store = Store(3)
    store.kept.append(Block(900))
    store.feed.publish(store.kept[-1])
    reader = store.feed.blocks(0)
    assert [next(reader).height for _ in range(3)] == [0, 1, 2]
    with pytest.raises(NotFound, match=r"height 3 is not stored .* height 900"):
        next(reader)


def test_a_negative_start_is_an_error() -> None:
    with pytest.raises(NotFound, match="no block has height -1"):
        Store().feed.blocks(-1)


def test_a_waiting_loop_gets_each_block_as_it_is_accepted_and_ends_with_the_chain() -> None:
    store = Store(1)
    got: list[int] = []
    more = threading.Semaphore(0)

    def read() -> None:
        for block in store.feed.blocks(0):
            got.append(block.height)
            more.release()

    reader = threading.Thread(target=read)
    reader.start()
    for height in range(5):
        assert more.acquire(timeout=DEADLINE_S)
        assert got == list(range(height + 1))
        store.accept()
    store.feed.close()
    reader.join(DEADLINE_S)
    assert not reader.is_alive()
    assert got[:5] == list(range(5))


def test_an_async_loop_does_the_same() -> None:
    store = Store(1)

    async def read() -> list[int]:
        got = []
        async for block in store.feed.blocks(0):
            got.append(block.height)
            if block.height == 4:
                store.feed.close()
            else:
                threading.Thread(target=store.accept).start()
        return got

    assert asyncio.run(asyncio.wait_for(read(), DEADLINE_S)) == [0, 1, 2, 3, 4]


def test_an_async_loop_ends_after_its_timeout_and_leaves_no_waiter_behind() -> None:
    store = Store(2)

    async def read() -> list[int]:
        return [block.height async for block in store.feed.blocks(0, timeout=0.01)]

    assert asyncio.run(read()) == [0, 1]
    assert store.feed._waiting == {}


def test_a_cancelled_reader_leaves_no_waiter_behind() -> None:
    store = Store(1)

    async def read() -> None:
        task = asyncio.ensure_future(anext_of(store))
        await asyncio.sleep(0)
        assert len(store.feed._waiting) == 1
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(read())
    assert store.feed._waiting == {}


async def anext_of(store: Store) -> Block:
    return await store.feed.blocks().__anext__()


def test_a_reader_of_a_closed_loop_does_not_disturb_the_chain() -> None:
    store = Store(1)
    loop = asyncio.new_event_loop()
    task = loop.create_task(anext_of(store))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    store.accept()
    assert heights(store.feed.blocks(0, timeout=0)) == [0, 1]
    task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_many_readers_at_every_pace_see_each_block_once_and_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed_module, "WINDOW_BLOCKS", 4)
    monkeypatch.setattr(feed_module, "PAGE_BLOCKS", 8)
    store = Store(50)
    last = 1_000

    def read(start: int) -> list[int]:
        got = []
        for block in store.feed.blocks(start):
            got.append(block.height)
            if block.height == last:
                return got
        raise AssertionError("the feed ended")

    async def read_async(start: int) -> list[int]:
        got = []
        async for block in store.feed.blocks(start):
            got.append(block.height)
            if block.height == last:
                return got
        raise AssertionError("the feed ended")

    results: dict[int, list[int]] = {}
    threads = [threading.Thread(target=lambda i=i: results.__setitem__(i, read(i))) for i in range(6)]
    threads += [
        threading.Thread(target=lambda i=i: results.__setitem__(i, asyncio.run(read_async(i))))
        for i in range(40, 44)
    ]
    for thread in threads:
        thread.start()
    store.accept(last - store.height)
    for thread in threads:
        thread.join(DEADLINE_S)
    assert results == {start: list(range(start, last + 1)) for start in (*range(6), *range(40, 44))}


def test_a_subscription_converts_blocks_and_begins_when_it_is_made() -> None:
    store = Store(2)
    source = store.feed.subscription(lambda block: {"height": block.height})

    async def read() -> list[Any]:
        from_now, from_genesis = source(), source(start=0)
        store.accept()
        live = [await from_now.__anext__()]
        return live + [await from_genesis.__anext__() for _ in range(3)]

    assert asyncio.run(read()) == [{"height": 2}, {"height": 0}, {"height": 1}, {"height": 2}]


class Client:
    """The client's end of a Starlette WebSocket that *store* feeds from *start* on."""

    def __init__(
        self,
        store: Store,
        start: int,
        convert: Any = lambda block: {"height": block.height},
        *,
        room: int = 0,
    ) -> None:
        """*room* messages can be sent before the client must read one; 0: any number."""
        self.received: asyncio.Queue[Any] = asyncio.Queue(room)
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self.sent.put_nowait({"type": "websocket.connect"})
        websocket = WebSocket({"type": "websocket"}, self.sent.get, self.received.put)
        self.endpoint = asyncio.create_task(store.feed.send_to(websocket, convert, start))

    async def receive(self) -> Any:
        return await asyncio.wait_for(self.received.get(), DEADLINE_S)


def test_a_websocket_gets_the_blocks_and_the_reason_when_the_chain_stops() -> None:
    async def main() -> None:
        store = Store(2)
        client = Client(store, 1)
        assert (await client.receive())["type"] == "websocket.accept"
        assert json.loads((await client.receive())["text"]) == {"height": 1}
        client.sent.put_nowait({"type": "websocket.receive", "text": "ignored"})
        store.accept()
        assert json.loads((await client.receive())["text"]) == {"height": 2}
        store.feed.close()
        closed = await client.receive()
        assert (closed["code"], closed["reason"]) == (1012, "the chain is shutting down")
        await client.endpoint

    asyncio.run(main())


def test_a_websocket_that_asks_for_a_pruned_block_is_closed_with_the_reason() -> None:
    async def main() -> None:
        store = Store(9)
        del store.kept[:5]
        client = Client(store, 3)
        assert (await client.receive())["type"] == "websocket.accept"
        closed = await client.receive()
        assert closed["code"] == 1008
        assert "the block at height 3 is not stored on this node" in closed["reason"]
        await client.endpoint

    asyncio.run(main())


def test_a_websocket_whose_client_leaves_leaves_no_reader() -> None:
    async def main() -> None:
        store = Store(2)
        client = Client(store, 1)
        await client.receive()
        await client.receive()
        client.sent.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await client.endpoint
        await asyncio.sleep(0)  # for the cancelled reader
        assert not store.feed._waiting

    asyncio.run(main())


def test_a_slow_websocket_costs_no_memory_and_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "WINDOW_BLOCKS", 4)
    monkeypatch.setattr(feed_module, "PAGE_BLOCKS", 8)

    async def main() -> None:
        store = Store(2)
        slow, fast = Client(store, 1, room=1), Client(store, 1)
        assert (await slow.receive())["type"] == "websocket.accept"
        await fast.receive()
        for height in range(1, 1_000):
            assert json.loads((await fast.receive())["text"]) == {"height": height}
            store.accept()
        assert slow.received.full()
        assert len(store.feed._window) == 4
        for height in range(1, 1_001):
            assert json.loads((await slow.receive())["text"]) == {"height": height}
        for client in (slow, fast):
            client.sent.put_nowait({"type": "websocket.disconnect", "code": 1001})
            await client.endpoint

    asyncio.run(main())


def test_a_websocket_that_reads_nothing_ends_when_its_client_leaves() -> None:
    async def main() -> None:
        store = Store(9)
        stuck = Client(store, 1, room=1)
        while not stuck.received.full():
            await asyncio.sleep(0)
        stuck.sent.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await asyncio.wait_for(stuck.endpoint, DEADLINE_S)

    asyncio.run(main())


def test_a_block_that_can_not_be_converted_is_an_error_of_the_endpoint() -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="bytes is not JSON"):
            await Client(Store(2), 1, lambda block: block.raw).endpoint

    asyncio.run(main())
