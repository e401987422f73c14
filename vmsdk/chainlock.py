"""The lock of one chain."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

from vmsdk.waiting import waiting


class ChainLock:
    """A reentrant lock, used as `threading.RLock` is. HTTP requests that don't need it go on while one waits for it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.release = self._lock.release

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock; False if that was not possible, or not within *timeout* seconds."""
        if not blocking:
            return self._lock.acquire(False, timeout)
        return self._lock.acquire(False) or self._wait(timeout)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _wait(self, timeout: float) -> bool:
        with waiting():
            return self._lock.acquire(True, timeout)

    def __getattr__(self, name: str) -> Any:
        # What `threading.Condition` needs of a reentrant lock, so that one can be made with this.
        if name in ("_release_save", "_acquire_restore", "_is_owned"):
            return getattr(self._lock, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
