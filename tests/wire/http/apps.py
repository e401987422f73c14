"""Small ASGI apps."""

from __future__ import annotations

import json
from typing import Any


def answering(status: int, *headers: tuple[bytes, bytes], body: bytes = b"body") -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


async def telling_scope(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what it was asked."""
    assert scope["type"] == "http"
    message = await receive()
    told: dict[str, Any] = {
        key: value.decode("latin-1") if isinstance(value, bytes) else value
        for key, value in scope.items()
        if isinstance(value, (str, bytes, tuple))
    }
    told["headers"] = [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]]
    told["body"] = message["body"].decode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})
