"""The error that a JSON-RPC method answers with."""

from __future__ import annotations

from typing import Any

from vmsdk.errors import VMError

# Source: JSON-RPC 2.0, section 5.1.
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SERVER_ERROR = -32000
"""The first of the codes left to servers, and the one that Go VMs answer every error with."""


class JSONRPCError(VMError):
    """Raise it in a method to answer with an error: *code* an integer, *message* one sentence, *data* any JSON.

    -32768 to -32000 are the standard's; the others are free for applications.
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
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
