"""ASGI apps: an echo, a status on demand, a stream that the client paces, a WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# A stream ends by itself when its client has not asked for the next part by then.
PACE_S = 20

_next_part: dict[str, asyncio.Semaphore] = {}


async def web(scope: Scope, receive: Receive, send: Send) -> None:
    """By query: `status=N`; `stream=NAME` with `parts=N`, and `go=NAME` for each part; else an
    echo.
    """
    if scope["type"] == "websocket":
        await _websocket(receive, send)
    if scope["type"] != "http":
        return
    query = parse_qs(scope["query_string"].decode())
    if "stream" in query:
        await _stream(send, query["stream"][0], int(query["parts"][0]))
    elif "go" in query:
        _semaphore(query["go"][0]).release()
        await _respond(send, 200, b"gone")
    elif "status" in query:
        status = int(query["status"][0])
        await _respond(send, status, b"" if status in (204, 304) else b"status %d" % status)
    else:
        await _respond(send, 200, json.dumps(await _echo(scope, receive)).encode())


async def header_routed(scope: Scope, receive: Receive, send: Send) -> None:
    """The same, with a mark, for requests that come by header."""

    async def marked(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"x-routed", b"by header")]
        await send(message)

    await web(scope, receive, marked)


async def _echo(scope: Scope, receive: Receive) -> dict[str, Any]:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return {
        "method": scope["method"],
        "path": scope["raw_path"].decode(),
        "query": scope["query_string"].decode(),
        "http_version": scope["http_version"],
        "headers": [[name.decode(), value.decode()] for name, value in scope["headers"]],
        "length": len(body),
        "body": body[:100].decode("latin-1"),
    }


async def _stream(send: Send, name: str, parts: int) -> None:
    """Each part goes out only when its client, having read the one before, says so on another
    connection.
    """
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
    )
    for part in range(parts):
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % part, "more_body": True})
        await asyncio.wait_for(_semaphore(name).acquire(), PACE_S)
    await send({"type": "http.response.body", "body": b""})


def _semaphore(name: str) -> asyncio.Semaphore:
    return _next_part.setdefault(name, asyncio.Semaphore(0))


async def _respond(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"x-from", b"the plugin")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _websocket(receive: Receive, send: Send) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("text") == "close":
            await send({"type": "websocket.close", "code": 4001, "reason": "asked to"})
            return
        if message.get("text") is not None:
            await send({"type": "websocket.send", "text": message["text"].upper()})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"][::-1]})
