"""An event loop whose tasks stop for others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context

from typing_extensions import TypeVarTuple, Unpack

ArgumentTs = TypeVarTuple("ArgumentTs")


class PoliteEventLoop(asyncio.SelectorEventLoop):
    """An event loop that gives way before each step of a task."""

    def __init__(self, give_way: Callable[[], None]) -> None:
        """*give_way* may block the loop, for a moment."""
        super().__init__()
        self._give_way = give_way

    def call_soon(
        self,
        callback: Callable[[Unpack[ArgumentTs]], object],
        *args: Unpack[ArgumentTs],
        context: Context | None = None,
    ) -> asyncio.Handle:
        return super().call_soon(self._call, callback, *args, context=context)

    def _call(self, callback: Callable[[Unpack[ArgumentTs]], object], *args: Unpack[ArgumentTs]) -> None:
        self._give_way()
        callback(*args)
