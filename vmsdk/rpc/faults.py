"""The faults of an author's code: logged with one traceback each, and counted."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from types import TracebackType

from vmsdk.rpc.errors import text_of

MAX_SIGNATURES = 1_000


class FaultLog:
    """Remembers which faults were seen, so that a flood of one of them is one traceback and a count."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._seen: Counter[tuple[str, str, str]] = Counter()
        self._by_method: Counter[str] = Counter()

    def record(self, method: str, error: BaseException, consequence: str) -> None:
        """Log that *method* of the VM raised *error*, and what follows from it."""
        signature = (method, type(error).__qualname__, _place(error.__traceback__))
        with self._lock:
            self._by_method[method] += 1
            if signature not in self._seen and len(self._seen) >= MAX_SIGNATURES:
                self._seen.clear()
            self._seen[signature] += 1
            times = self._seen[signature]
        if times == 1:
            self._log.error("%s raised %s; %s", method, _describe(error), consequence, exc_info=error)
        elif times & (times - 1) == 0:  # 2, 4, 8, …: a flood must not fill the node's disk
            self._log.error(
                "%s raised %s again, %d times by now, last: %s; %s",
                method,
                type(error).__qualname__,
                times,
                _describe(error),
                consequence,
            )

    def counts(self) -> dict[str, int]:
        """How many faults each method of the VM had."""
        with self._lock:
            return dict(self._by_method)


def _describe(error: BaseException) -> str:
    text, kind = text_of(error), type(error).__qualname__
    return f"{kind}: {text}" if text else kind


def _place(traceback: TracebackType | None) -> str:
    if traceback is None:
        return ""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"
