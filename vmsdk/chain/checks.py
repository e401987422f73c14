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

    Many are checked on all cores, which helps if the library releases the GIL.
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

    def many(self, ids: Sequence[ID], transactions: Sequence[Any]) -> list[Exception | None]:
        """Check several transactions. Returns for each what its check raised, or None."""
        failures: list[Exception | None] = [None] * len(ids)
        fresh = [index for index, each in enumerate(ids) if each not in self._passed]

        def run(part: Sequence[int]) -> None:
            for index in part:
                try:
                    self._check(transactions[index])
                except Exception as error:  # noqa: BLE001 - the caller raises or returns it
                    failures[index] = error

        threads = min(self._threads, len(fresh) // MIN_PER_THREAD)
        if threads < 2:
            run(fresh)
        else:
            with self._lock:
                if self._pool is None:
                    self._pool = ThreadPoolExecutor(self._threads - 1, thread_name_prefix="vmsdk-checks")
            others = [self._pool.submit(run, fresh[start::threads]) for start in range(1, threads)]
            run(fresh[::threads])
            for other in others:
                other.result()
        self._remember([ids[index] for index in fresh if failures[index] is None])
        return failures

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _remember(self, ids: Sequence[ID]) -> None:
        with self._lock:
            for each in ids:
                self._passed[each] = None
            while len(self._passed) > MAX_REMEMBERED:
                self._passed.popitem(last=False)
