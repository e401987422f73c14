"""Where a thread says that it is about to wait, so that another may work meanwhile."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Protocol


class Scheduled(Protocol):
    """A thread that shares its time with others of its kind."""

    def pause(self) -> None:
        """It is about to wait: others may go on."""

    def resume(self) -> None:
        """It has waited. Returns when it may go on."""


class _Current(threading.local):
    thread: Scheduled | None = None


class _Waiting:
    __slots__ = ("_thread",)

    def __init__(self, thread: Scheduled) -> None:
        self._thread = thread

    def __enter__(self) -> None:
        self._thread.pause()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.resume()


_current = _Current()
_NOBODY_TO_TELL = nullcontext()


def schedule_this_thread(thread: Scheduled) -> None:
    """From now on, tell *thread* of this thread's waits."""
    _current.thread = thread


def waiting() -> AbstractContextManager[None]:
    """Goes around what may wait: for the node, for a lock. Most threads have nobody to tell."""
    thread = _current.thread
    return _NOBODY_TO_TELL if thread is None else _Waiting(thread)
