"""ASGI 3, the one interface that every mounted app has by the time it serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
"""What a request, a WebSocket or a lifespan is about."""

Message: TypeAlias = MutableMapping[str, Any]
"""One event from the server or to it."""

Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

FAILURES = (Exception, SystemExit, KeyboardInterrupt)
"""What an app may fail with. It may not end the process, nor the event loop, by raising what usually does."""

RUN_IN_THREAD = "vmsdk.run_in_thread"
"""Key in a scope: `async (function, *arguments) -> result`, which runs blocking code in a bounded set of
threads. Absent under another ASGI server."""

WAITING = "vmsdk.waiting"
"""Key in a scope: `() -> context manager`, to be entered in such a thread around what waits for the client, so
that other work gets another thread meanwhile. Absent under another ASGI server."""


class ASGI:
    """Says that *app* is an ASGI 3 application, where its looks don't tell."""

    def __init__(self, app: ASGIApp) -> None:
        if not callable(app):
            raise TypeError(
                f"ASGI({app!r}): an ASGI app is called with (scope, receive, send); this cannot be called"
            )
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self.app(scope, receive, send)


async def respond(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes, *, websocket: bool = False
) -> None:
    """Send a whole response; with *websocket*, one that refuses the WebSocket."""
    kind = "websocket.http" if websocket else "http"
    await send({"type": f"{kind}.response.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.response.body", "body": body})


async def refuse_websocket(scope: Scope, receive: Receive, send: Send, reason: str) -> None:
    """Refuse a WebSocket on a path that has none, in words where the server can carry them."""
    await receive()
    if "websocket.http.response" in scope.get("extensions", {}):
        text = (reason + "\n").encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text))]
        await respond(send, 400, headers, text, websocket=True)
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
