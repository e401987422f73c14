"""The checks of transactions that need no state: signatures, sizes. Each transaction once."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from vmsdk.ids import ID

MAX_REMEMBERED = 100_000
# Fewer than this are checked by the calling thread alone.
MIN_PER_THREAD = 16


class Checks:
    """Runs *check* once for each transaction, and remembers those that passed. Thread-safe.

    Many are checked on all cores, which helps where the library lets go of the GIL.
    """

    def __init__(self, check: Callable[[Any], None]) -> None:
        self._check = check
        self._passed: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()
        self._threads = os.cpu_count() or 1
        self._pool: ThreadPoolExecutor | None = None

    def one(self, transaction_id: ID, transaction: Any) -> None:
        """Check one transaction. Raises `Invalid`."""
        if transaction_id not in self._passed:
            self._check(transaction)
            self._remember((transaction_id,))

    def many(self, ids: Sequence[ID], transactions: Sequence[Any]) -> None:
        """Check the transactions of a block. Raises `Invalid` for one of those that break a
        rule.
        """
        fresh = [
            (each, transaction)
            for each, transaction in zip(ids, transactions, strict=True)
            if each not in self._passed
        ]
        if not fresh:
            return
        threads = min(self._threads, len(fresh) // MIN_PER_THREAD)
        if threads < 2:
            self._run(fresh)
        else:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads - 1, thread_name_prefix="vmsdk-checks")
            parts = [fresh[index::threads] for index in range(threads)]
            others = [self._pool.submit(self._run, part) for part in parts[1:]]
            try:
                self._run(parts[0])
            finally:
                failures = [other.exception() for other in others]
            for failure in failures:
                if failure is not None:
                    raise failure
        self._remember([each for each, _ in fresh])

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _run(self, part: Sequence[tuple[ID, Any]]) -> None:
        for _, transaction in part:
            self._check(transaction)

    def _remember(self, ids: Sequence[ID]) -> None:
        with self._lock:
            for each in ids:
                self._passed[each] = None
            while len(self._passed) > MAX_REMEMBERED:
                self._passed.popitem(last=False)
