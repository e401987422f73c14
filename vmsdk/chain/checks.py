"""Checks of transactions that need no state, such as signatures."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from vmsdk.errors import VMError
from vmsdk.ids import ID

MAX_REMEMBERED = 100_000
# Fewer than this are checked by the calling thread alone.
MIN_PER_THREAD = 16
# The result for threads that wait for a check that KeyboardInterrupt has ended.
_INTERRUPTED = VMError("the check of the transaction was interrupted")


class Checks:
    """Runs *check* once for each transaction, and remembers those that passed. Thread-safe.

    Many transactions are checked on all cores, which helps if *check* releases the GIL. If another
    thread is checking the same transaction, a thread waits for its result.
    """

    def __init__(self, check: Callable[[Any], None]) -> None:
        self._check = check
        self._passed: OrderedDict[bytes, None] = OrderedDict()
        # The transactions that are being checked, each with a future for each waiting thread.
        self._running: dict[bytes, list[Future[Exception | None]]] = {}
        self._lock = threading.Lock()
        self._threads = os.cpu_count() or 1
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False

    def one(self, transaction_id: ID, transaction: Any) -> None:
        """Check one transaction. Raises `Invalid`."""
        failure = self._failure(transaction_id, transaction)
        if failure is not None:
            raise failure

    def many(self, ids: Sequence[ID], transactions: Sequence[Any]) -> list[Exception | None]:
        """Check several transactions. Returns for each the exception of its check, or None.

        Raises `VMError` after `close`.
        """
        fresh = {
            each: transaction
            for each, transaction in zip(ids, transactions, strict=True)
            if each not in self._passed
        }
        failures: dict[ID, Exception | None] = {}

        def run(part: Sequence[ID]) -> None:
            for each in part:
                if self._closed:
                    return
                failures[each] = self._failure(each, fresh[each])

        waiting = list(fresh)
        threads = min(self._threads, len(waiting) // MIN_PER_THREAD)
        if threads < 2:
            run(waiting)
        else:
            with self._lock:
                if self._closed:
                    raise VMError("the chain is shutting down")
                if self._pool is None:
                    self._pool = ThreadPoolExecutor(self._threads - 1, thread_name_prefix="vmsdk-checks")
                others = [self._pool.submit(run, waiting[start::threads]) for start in range(1, threads)]
            run(waiting[::threads])
            for other in others:
                other.result()
        if self._closed:
            raise VMError("the chain is shutting down")
        return [failures.get(each) for each in ids]

    def close(self) -> None:
        """Wait for the running checks, and stop the threads."""
        with self._lock:
            self._closed = True
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _failure(self, transaction_id: ID, transaction: Any) -> Exception | None:
        """The exception of a transaction's check, or None.

        Takes no lock, for which all threads would compete: each operation on a dict or list is
        atomic.
        """
        while transaction_id not in self._passed:
            own: list[Future[Exception | None]] = []
            waiters = self._running.setdefault(transaction_id, own)
            if waiters is own:
                return self._run(transaction_id, transaction, own)
            result: Future[Exception | None] = Future()
            waiters.append(result)
            # If it is still running, its thread will find the new waiter.
            if self._running.get(transaction_id) is waiters:
                return result.result()
        return None

    def _run(
        self, transaction_id: ID, transaction: Any, waiters: list[Future[Exception | None]]
    ) -> Exception | None:
        failure: Exception | None = _INTERRUPTED
        try:
            if transaction_id not in self._passed:  # in the meantime
                self._check(transaction)
            failure = None
        except Exception as error:  # noqa: BLE001 - raised in, or returned to, all waiting threads
            failure = error
        finally:
            if failure is None:
                self._passed[transaction_id] = None
                if len(self._passed) > MAX_REMEMBERED:
                    self._passed.popitem(last=False)
            del self._running[transaction_id]
            for each in waiters:
                each.set_result(failure)
        return failure
