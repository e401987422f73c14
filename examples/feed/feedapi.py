"""The feed's HTTP interface: an ordinary FastAPI app inside a VM.

Plain `def` endpoints run in threads, so they may use the database and the engine's lock; `async
def` endpoints run on the event loop, and may not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, HTTPException, Path, Query, WebSocket, WebSocketDisconnect, status
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from subscribers import Subscription, TooSlow

import vmsdk

if TYPE_CHECKING:
    from feedvm import FeedVM

MAX_MESSAGE_BYTES = 280
MAX_PENDING = 10_000
PAGE = 100

MAX_HEIGHT = (1 << 64) - 1

Height = Annotated[int, Path(ge=0, le=MAX_HEIGHT, description="The genesis block has height 0.")]
Start = Annotated[
    int | None, Query(ge=0, le=MAX_HEIGHT, description="First send the stored blocks from this height on.")
]


class Post(BaseModel):
    """A message for a block."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_MESSAGE_BYTES)]


class Block(BaseModel):
    """An accepted block."""

    id: str
    height: int
    timestamp: Annotated[int, Field(description="Unix seconds")]
    text: str


def create_app(vm: FeedVM) -> FastAPI:
    """Create the app of one chain."""
    app = FastAPI(title="Feed", version=vm.version, description="A chain of short messages.")

    @app.post("/messages", status_code=status.HTTP_202_ACCEPTED)
    def post_message(post: Post) -> dict[str, int]:
        """Queue a message for a block; returns how many are waiting."""
        if len(post.text.encode()) > MAX_MESSAGE_BYTES:
            raise HTTPException(
                status.HTTP_413_CONTENT_TOO_LARGE, f"at most {MAX_MESSAGE_BYTES} bytes of UTF-8"
            )
        with vm.ctx.lock:
            if len(vm.pending) >= MAX_PENDING:
                raise HTTPException(
                    status.HTTP_503_SERVICE_UNAVAILABLE, f"{MAX_PENDING} messages are waiting"
                )
            vm.post(post.text)
            return {"pending": len(vm.pending)}

    @app.get("/blocks/last", response_model=Block)
    def last_block() -> Any:
        """The last accepted block."""
        return vm.last.to_json()

    @app.get("/blocks/{height}", response_model=Block)
    def block_at(height: Height) -> Any:
        """The block at this height."""
        for message in vm.messages(height, limit=1):
            return message.to_json()
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no block at height {height}")

    @app.websocket("/feed")
    async def feed(websocket: WebSocket, start: Start = None) -> None:
        """Send each block as it is accepted; with `?start=7`, first those from height 7 on."""
        await websocket.accept()
        with vm.subscribers.subscribe() as subscription:
            sender = asyncio.create_task(send_blocks(websocket, subscription, start))
            try:
                while True:
                    await websocket.receive()
            except (WebSocketDisconnect, RuntimeError):
                pass  # The client has left.
            finally:
                sender.cancel()

    @app.get("/events")
    async def events(start: Start = None) -> StreamingResponse:
        """The same as server-sent events.

        A node does not stream over HTTP/1: there, each response ends after its first events, and a
        browser's EventSource reconnects.
        """

        async def stream() -> AsyncIterator[str]:
            with vm.subscribers.subscribe() as subscription:
                async for block in blocks(subscription, start):
                    yield f"id: {block['height']}\ndata: {Block(**block).model_dump_json()}\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def blocks(subscription: Subscription, start: int | None) -> AsyncIterator[dict[str, Any]]:
        """Stored blocks from *start* on, if given; then each block that is accepted."""
        sent = -1
        # Subscribed first: blocks accepted from here on come by the subscription.
        while start is not None:
            page = await asyncio.to_thread(vm.messages, start, PAGE)
            for message in page:
                yield message.to_json()
                sent = message.height
            start = sent + 1 if len(page) == PAGE else None
        while True:
            block = await subscription.next()
            if block["height"] > sent:
                yield block

    async def send_blocks(websocket: WebSocket, subscription: Subscription, start: int | None) -> None:
        try:
            async for block in blocks(subscription, start):
                await websocket.send_json(block)
        except TooSlow:
            await websocket.close(status.WS_1013_TRY_AGAIN_LATER, "too slow")
        except (WebSocketDisconnect, vmsdk.Closed):
            pass  # The client has left, or the chain is closing.

    return app
