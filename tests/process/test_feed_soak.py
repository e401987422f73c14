"""A thousand requests and 200 WebSockets at once leave the plugin with the threads, descriptors
and servers it had.

    VMSDK_REQUESTS=10000 python -m pytest tests/process/test_feed_soak.py
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from vmsdk.services.channel import MAX_IDLE

from .feed import Feed
from .plugin import PATIENCE_S

pytestmark = pytest.mark.slow

REQUESTS = int(os.environ.get("VMSDK_REQUESTS", "1000"))
AT_ONCE = 40
WEBSOCKETS = 200
IDLE_WEBSOCKETS = 500
# What the pools may grow by when load is at its highest: that of anyio has up to 40 threads, and
# that of connections to the node keeps as many as were in use at once. What each WebSocket or
# request left behind would be hundreds.
POOLED_THREADS, POOLED_CONNECTIONS = 40, MAX_IDLE


@dataclass(frozen=True)
class Held:
    """What a process holds."""

    threads: int
    descriptors: int
    listening: int

    @classmethod
    def by(cls, pid: int) -> Held:
        process = Path(f"/proc/{pid}")
        inodes = set()
        descriptors = 0
        for descriptor in (process / "fd").iterdir():
            try:
                target = str(descriptor.readlink())
            except FileNotFoundError:
                continue
            descriptors += 1
            inodes.add(target.removeprefix("socket:[").removesuffix("]"))
        rows = [line.split() for line in (process / "net" / "tcp").read_text().splitlines()[1:]]
        listening = sum(1 for row in rows if row[3] == "0A" and row[9] in inodes)
        return cls(len(list((process / "task").iterdir())), descriptors, listening)


async def await_rest(pid: int, before: Held) -> None:
    """Wait until *pid* holds no more than it did *before*, but for what is in pools."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_S
    while (
        (held := Held.by(pid)).threads > before.threads + POOLED_THREADS
        or held.descriptors > before.descriptors + POOLED_CONNECTIONS
        or held.listening > before.listening
    ):
        assert loop.time() < deadline, (before, held)
        await asyncio.sleep(0.05)


async def request(client: httpx.AsyncClient, url: str, count: int) -> int:
    """*count* requests, half of them JSON bodies, `AT_ONCE` at a time; how many went wrong."""
    left, wrong = count, 0

    async def worker() -> None:
        nonlocal left, wrong
        while left > 0:
            left -= 1
            if left % 2:
                wrong += (await client.get(f"{url}/blocks/0")).status_code != 200
            else:
                wrong += (await client.post(f"{url}/messages", json={"text": ""})).status_code != 422

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return wrong


async def open_at_once(url: str, count: int) -> list[ClientConnection]:
    """*count* open WebSockets."""
    opened: list[ClientConnection] = []
    while len(opened) < count:
        few = min(count - len(opened), 20)
        opened += await asyncio.gather(*(connect(url, open_timeout=PATIENCE_S) for _ in range(few)))
    return opened


async def listen(feed: Feed, count: int) -> None:
    """*count* listeners hear one block, and leave: half by closing, half by vanishing."""
    listeners = await open_at_once(f"{feed.ws}/feed?start=0", count)
    for listener in listeners:
        assert json.loads(await asyncio.wait_for(listener.recv(), PATIENCE_S))["height"] == 0
    await asyncio.to_thread(feed.post, "soak")
    for number, listener in enumerate(listeners):
        assert json.loads(await asyncio.wait_for(listener.recv(), PATIENCE_S))["messages"] == ["soak"]
        if number % 2:
            listener.transport.abort()
    await asyncio.gather(*(listener.close() for listener in listeners))


@pytest.mark.timeout(900)
def test_requests_and_200_websockets_at_once_leave_nothing_behind() -> None:
    with Feed(45) as feed:
        pid = feed.host.process.pid
        assert pid is not None

        async def soak() -> None:
            limits = httpx.Limits(max_connections=AT_ONCE)
            async with httpx.AsyncClient(limits=limits, timeout=PATIENCE_S) as client:
                assert await request(client, feed.url, REQUESTS // 2) == 0
                before = Held.by(pid)
                await listen(feed, WEBSOCKETS)
                assert await request(client, feed.url, REQUESTS // 2) == 0
                await await_rest(pid, before)

        asyncio.run(soak())
        assert feed.host.stop() == 0
    assert "Traceback" not in feed.lines.text


def test_500_idle_websockets_stop_neither_the_chain_nor_the_other_handlers() -> None:
    with Feed(45, runs=False) as feed:

        async def idle() -> None:
            listeners = await open_at_once(f"{feed.ws}/feed", IDLE_WEBSOCKETS)
            async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
                assert (await client.get(f"{feed.url}/blocks/0")).status_code == 200
                response = await client.post(f"{feed.url}/messages", json={"text": "on it goes"})
                assert response.status_code == 202
                block = await asyncio.to_thread(feed.host.chain.produce)
                assert (await client.get(f"{feed.url}/blocks/{block.height}")).json()["messages"] == [
                    "on it goes"
                ]
            for listener in listeners:
                assert json.loads(await asyncio.wait_for(listener.recv(), PATIENCE_S))["height"] == 1
            await asyncio.gather(*(listener.close() for listener in listeners))

        asyncio.run(idle())
        assert feed.host.stop() == 0
    assert "Traceback" not in feed.lines.text
