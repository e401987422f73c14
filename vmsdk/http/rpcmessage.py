"""The messages of JSON-RPC 2.0: their JSON and their errors."""

from __future__ import annotations

import json
import logging
import types
from typing import Any

from vmsdk.errors import VMError
from vmsdk.ids import ID, NodeID

# Source: JSON-RPC 2.0, section 5.1.
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SERVER_ERROR = -32000
"""The first of the codes that servers may define. Go VMs use it for all errors."""
RESPONSE_TOO_LARGE = -32003
"""As in go-ethereum."""

_log = logging.getLogger(__name__)


class JSONRPCError(VMError):
    """Raise it in a method to respond with an error.

    *code* is an integer: JSON-RPC reserves -32768 to -32000, and any other is yours. *message* is
    one sentence, *data* any JSON value.
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        if not isinstance(code, int) or not isinstance(message, str):
            raise TypeError(
                f"JSONRPCError({code!r}, {message!r}) takes a code, an int, then a message, a str"
            )
        self.code = code
        self.message = message
        self.data = data
        super().__init__(f"{message} (JSON-RPC error {code})")

    def as_json(self) -> dict[str, Any]:
        """The `error` member of a response."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return error


def _plain(value: Any) -> Any:
    if isinstance(value, (ID, NodeID)):
        return str(value)
    fix = ""
    if isinstance(value, (bytes, bytearray, memoryview)):
        fix = ": use its hex() or another text"
    elif isinstance(value, types.CoroutineType):
        value.close()
        fix = ": await it; a decorator of an `async` method must have an `async` wrapper"
    raise TypeError(f"a value of type {type(value).__name__} is not JSON{fix}")


encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_plain).encode


def failure(call_id: Any, error: JSONRPCError) -> bytes:
    """The response to the call *call_id* that carries *error*."""
    try:
        text = encode(error.as_json())
    except (TypeError, ValueError, RecursionError) as reason:
        _log.error("the data of %r is not JSON: %s", error, reason)
        text = encode(JSONRPCError(error.code, error.message).as_json())
    return f'{{"jsonrpc":"2.0","error":{text},"id":{encode(call_id)}}}'.encode()
