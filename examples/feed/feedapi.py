"""The feed's HTTP interface: an ordinary FastAPI app inside a VM.

Plain `def` endpoints run in threads, so they may read the database; `async def` endpoints run on
the event loop, and must not block it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, HTTPException, Path, Query, Request, WebSocket, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field

from vmsdk.chain import Invalid, MempoolFull

if TYPE_CHECKING:
    from feedvm import FeedVM

MAX_HEIGHT = (1 << 64) - 1

Height = Annotated[int, Path(ge=0, le=MAX_HEIGHT, description="The genesis block has height 0.")]
Start = Annotated[
    int | None, Query(ge=0, le=MAX_HEIGHT, description="First send the stored blocks from this height on.")
]


class Post(BaseModel):
    """A message for a block."""

    text: Annotated[str, Field(min_length=1, max_length=280)]


class Block(BaseModel):
    """An accepted block."""

    id: str
    height: int
    timestamp: Annotated[int, Field(description="Unix milliseconds")]
    messages: list[str]


def create_app(vm: FeedVM) -> FastAPI:
    """Create the app of one chain."""
    app = FastAPI(title="Feed", version=vm.version, description="A chain of short messages.")

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        # FastAPI's own response repeats the input, which JSON can't hold if it is NaN.
        details = [{key: each[key] for key in ("type", "loc", "msg")} for each in error.errors()]
        return JSONResponse({"detail": details}, status.HTTP_422_UNPROCESSABLE_CONTENT)

    @app.post("/messages", status_code=status.HTTP_202_ACCEPTED)
    def post_message(post: Post) -> dict[str, int]:
        """Queue a message for a block; returns how many are waiting."""
        try:
            vm.post(post.text)
        except Invalid as error:  # too many bytes of UTF-8
            raise HTTPException(status.HTTP_413_CONTENT_TOO_LARGE, str(error)) from None
        except MempoolFull as error:
            raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, str(error)) from None
        return {"pending": len(vm.pool)}

    @app.get("/blocks/last", response_model=Block)
    def last_block() -> Any:
        """The last accepted block."""
        return vm.to_json(vm.last)

    @app.get("/blocks/{height}", response_model=Block)
    def block_at(height: Height) -> Any:
        """The block at this height."""
        for block in vm.blocks(height, limit=1):
            return vm.to_json(block)
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no block at height {height}")

    @app.websocket("/feed")
    async def feed(websocket: WebSocket, start: Start = None) -> None:
        """Send each block as it is accepted; with `?start=7`, first those from height 7 on."""
        await vm.feed.send_to(websocket, vm.to_json, start)

    @app.get("/events")
    async def events(start: Start = None) -> StreamingResponse:
        """The same as server-sent events.

        A node does not stream over HTTP/1: there, each response ends after its first events, and a
        browser's EventSource reconnects.
        """

        async def stream() -> AsyncIterator[str]:
            async for block in vm.feed.blocks(start):
                yield f"id: {block.height}\ndata: {Block(**vm.to_json(block)).model_dump_json()}\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    return app
