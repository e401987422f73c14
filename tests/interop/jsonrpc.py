"""JSON-RPC 2.0 over the node's HTTP server, as a user of the chain speaks it."""

from __future__ import annotations

from typing import Any

import httpx

from .gohost import Handlers

TIMEOUT_S = 60.0


class JSONRPCError(Exception):
    """The chain answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{message} ({code})")


def request(method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """The body of a call."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}


def call(handlers: Handlers, method: str, prefix: str = "", /, **params: Any) -> Any:
    """The result of a call; `JSONRPCError` if it has none."""
    response = httpx.post(handlers.url(prefix), json=request(method, params), timeout=TIMEOUT_S)
    response.raise_for_status()
    answer = response.json()
    if answer.get("error"):
        raise JSONRPCError(answer["error"]["code"], answer["error"]["message"])
    return answer["result"]
