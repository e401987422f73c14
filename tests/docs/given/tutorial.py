"""The project of docs/tutorial.md, as far as its fragments use it."""

import time as time
from typing import Annotated
from typing import Any as Any

from vmsdk import chain as chain
from vmsdk.http import JSONRPC as JSONRPC
from vmsdk.testing import Chain as Chain

state: Any = chain.Overlay(chain.Overlay(None))  # type: ignore[arg-type]
write: Any = None
call: Any = None


class Note(chain.Transaction):
    key: Annotated[str, chain.Max(32)]
    text: Annotated[str, chain.Max(256)]


def note_key(key: str) -> bytes:
    return key.encode()


tx = Note("key", "text")
