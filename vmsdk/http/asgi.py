"""ASGI 3, to which every mounted app is converted before it is served."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
"""The scope of a request, a WebSocket or a lifespan."""

Message: TypeAlias = MutableMapping[str, Any]
"""One event, from the server or to it."""

Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

FAILURES = (Exception, SystemExit, KeyboardInterrupt)
"""Exceptions of an app that must end neither the process nor the event loop."""

# Keys of the scope, which only vmsdk's server sets:

RUN_IN_THREAD = "vmsdk.run_in_thread"
"""`async (function, *arguments) -> result` runs blocking code in a bounded thread pool."""

WAITING = "vmsdk.waiting"
"""`() -> context manager`, entered in such a thread while it waits for the client. Meanwhile, other
work gets other threads."""

REPORT = "vmsdk.report"
"""`(what raised, error, consequence) -> fault` logs an error of the author's code: one traceback
for each place in the code, and then a count. Returns the ID of that place in the log."""

Waiting: TypeAlias = Callable[[], AbstractContextManager[None]]
Report: TypeAlias = Callable[[str, BaseException, str], str]

NOT_WAITING: Waiting = nullcontext


def report_to_log(what: str, error: BaseException, consequence: str) -> str:
    """Log an error under a server that does not set `REPORT`."""
    fault = os.urandom(4).hex()
    text = "%s raised %r; %s (fault %s)"
    logging.getLogger(__name__).error(text, what, error, consequence, fault, exc_info=error)
    return fault


def internal_error(fault: str) -> str:
    """The text that a client gets for an error in the author's code."""
    return f"internal error: see fault {fault} in the log of the chain"


class ASGI:
    """Marks *app* as an ASGI 3 application, where its signature doesn't show that it is one."""

    def __init__(self, app: ASGIApp) -> None:
        if not callable(app):
            raise TypeError(f"ASGI({app!r}): not callable. An ASGI app is called with (scope, receive, send)")
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


async def refuse_websocket(
    scope: Scope, receive: Receive, send: Send, reason: str, status: int = 400
) -> None:
    """Refuse a WebSocket, with the reason if the server can send it."""
    await receive()
    if "websocket.http.response" in scope.get("extensions", {}):
        text = (reason + "\n").encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text))]
        await respond(send, status, headers, text, websocket=True)
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
