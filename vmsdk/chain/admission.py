"""Admission to the mempool: a transaction is first executed after all those already in it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, KeysView
from typing import Any, NoReturn

from vmsdk.chain.accepted import AcceptedState, Snapshot
from vmsdk.chain.errors import Invalid, MempoolFull, NotYet
from vmsdk.chain.mempool import Mempool, Pending
from vmsdk.chain.state import Overlay, State
from vmsdk.errors import VMError

_log = logging.getLogger(__name__)

# Each pending snapshot freezes a layer of writes. More layers than this are merged.
MAX_LAYERS = 8
# How often a transaction is executed again because of a concurrent commit.
MAX_ATTEMPTS = 10
# Executing all waiting transactions again takes at most 1/N of the time.
REBUILD_SHARE = 10
# The writes of this many blocks are compared with the pending ones. After more blocks, all waiting
# transactions are executed again.
MAX_FOREIGN_BLOCKS = 16
# Parked transactions may take 1/N of the mempool, and 1/N of one sender's share.
PARKED_SHARE = 4
# Pending writes of accepted transactions are dropped after at least this many admissions,
MIN_ADMISSIONS = 4_096
# or as soon as all pending writes take this many times the bytes that the mempool allows.
MAX_WRITTEN_SHARE = 2


class Admission:
    """Keeps the pending state: the accepted state plus all waiting transactions. Thread-safe.

    Never takes the engine's lock. *run* executes one transaction on a state, *begin* what precedes
    the first transaction of a block.
    """

    def __init__(
        self,
        accepted: AcceptedState,
        pool: Mempool,
        *,
        begin: Callable[[State], None],
        run: Callable[[Overlay, Pending], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accepted = accepted
        self._pool = pool
        self._begin = begin
        self._run = run
        self._clock = clock
        self._lock = threading.RLock()
        self._layers: list[dict[bytes, bytes | None]] = []
        self._top = Overlay(accepted)
        self._is_stale = True
        self._rebuild_at = 0.0
        # For each block with transactions from elsewhere: the keys that it wrote, and the senders
        # of those transactions. Filled by the engine's thread.
        self._foreign: deque[tuple[KeysView[bytes], set[Any]]] = deque()
        # Since the last rebuild:
        self._admitted = 0
        self._written = 0  # in bytes
        self._losses = 0  # the mempool's, at the last refresh
        self._is_refused = False  # the next block, by `begin`; logged once

    # The engine's thread --------------------------------------------------------------------------

    def overtaken(self, keys: KeysView[bytes], senders: set[Any]) -> None:
        """Report an accepted block that wrote *keys*, with transactions of *senders* that were not
        waiting here.
        """
        if len(self._foreign) < MAX_FOREIGN_BLOCKS:
            self._foreign.append((keys, senders))
        else:
            self._is_stale = True

    def invalidate(self) -> None:
        """Report that transactions were removed from the mempool without being accepted."""
        self._is_stale = True

    # Any thread -----------------------------------------------------------------------------------

    def admit(self, pending: Pending) -> None:
        """Execute a transaction on the pending state, and add it to the mempool.

        Raises `Invalid` or `MempoolFull`.
        """
        with self._lock:
            self._refresh()
            if pending.id in self._pool:
                return  # another thread has added it
            if self._replaces(pending):
                # It is executed in place of the other one at the next rebuild.
                self._pool.add(pending)
                self._is_stale = True
                return
            try:
                state = self._try(pending)
            except NotYet as error:
                if pending.sender is None:
                    raise
                self._park(pending, error)
                return
            pending.written = state.written
            self._pool.add(pending)
            self._absorb(state)
            self._admitted += 1
            self._release(self._pool.parked_after(pending))

    def refresh(self) -> None:
        """Bring the pending state up to date with the accepted one."""
        with self._lock:
            self._refresh()

    def open_snapshot(self) -> tuple[State, Snapshot]:
        """A read-only snapshot of the pending state, and the snapshot below it, to be closed."""
        with self._lock:
            while True:
                self._refresh()
                generation = self._accepted.settled()
                snapshot = self._accepted.open_snapshot()
                if snapshot.generation == generation:
                    break
                snapshot.close()
            if self._top.writes:
                self._layers.append(self._top.writes)
                if len(self._layers) > MAX_LAYERS:
                    merged: dict[bytes, bytes | None] = {}
                    for layer in self._layers:
                        merged.update(layer)
                    self._layers = [merged]
                self._top = Overlay(_stack(self._accepted, self._layers))
            return _stack(snapshot, self._layers), snapshot

    # With the lock --------------------------------------------------------------------------------

    def _replaces(self, pending: Pending) -> bool:
        if pending.sender is None:
            return False
        other = self._pool.at(pending.sender, pending.sequence)
        return other is not None and other.id != pending.id and not other.is_parked

    def _absorb(self, state: Overlay) -> None:
        self._top.absorb(state)
        self._written += state.written
        state.end()

    def _try(self, pending: Pending) -> Overlay:
        """Execute a transaction on a layer above the pending state."""
        accepted = self._accepted
        for attempt in range(MAX_ATTEMPTS):
            generation, changes = accepted.settled() if attempt else accepted.generation, accepted.changes
            state = Overlay(self._top)
            failure: Exception | None = None
            try:
                self._run(state, pending)
            except Exception as error:  # noqa: BLE001 - raised below, unless it is due to a commit
                failure = error
            # During a commit, lookups already return its values, but scans don't. A transaction
            # that succeeds need not wait for the database.
            is_settled = accepted.generation == generation and not generation & 1
            if accepted.changes == changes and (failure is None or is_settled):
                break
        accepted.must_be_sound()
        if failure is not None:
            raise failure
        return state

    def _park(self, pending: Pending, error: NotYet) -> None:
        if len(self._pool) - self._pool.ready >= max(1, self._pool.max_transactions // PARKED_SHARE):
            raise MempoolFull(f"{error}, and too many transactions wait for earlier ones of their senders")
        parked = self._pool.parked_of(pending.sender)
        if parked >= max(1, self._pool.max_per_sender // PARKED_SHARE):
            raise MempoolFull(f"{error}, and {parked} transactions of this sender wait for earlier ones")
        pending.is_parked = True
        self._pool.add(pending)

    def _release(self, parked: list[Pending]) -> None:
        """Execute parked transactions in order. Those that succeed become ready."""
        waiting = set()  # senders with an earlier transaction that is still missing
        for pending in parked:
            if pending.sender in waiting or pending.id not in self._pool:
                continue
            try:
                state = self._try(pending)
                self._pool.release(pending, state.written)
            except NotYet:
                waiting.add(pending.sender)
            except MempoolFull as error:
                self._pool.remove(pending.id, f"evicted: {error}")
            except Exception as error:  # noqa: BLE001 - the caller's transaction is another one
                reason = str(error)
                if not isinstance(error, Invalid):
                    _log.exception("execute failed for transaction %s, which is dropped", pending.id)
                    reason = "execute failed: a bug in the chain's rules"
                self._pool.remove(pending.id, reason)
            else:
                self._absorb(state)

    def _refresh(self) -> None:
        self._pool.expire()
        if self._pool.losses != self._losses:
            self._losses = self._pool.losses
            self._is_stale = True
        advanced: set[Any] = set()
        while self._foreign:
            keys, senders = self._foreign.popleft()
            advanced |= senders
            layers = (*self._layers, self._top.writes)
            # Never set to False here, because the engine's thread sets it too.
            if not self._is_stale and any(not keys.isdisjoint(layer.keys()) for layer in layers):
                self._is_stale = True
        if not len(self._pool):
            self._reset()
        elif self._written > MAX_WRITTEN_SHARE * self._pool.max_written or (
            self._clock() >= self._rebuild_at
            and (self._is_stale or self._admitted > 2 * len(self._pool) + MIN_ADMISSIONS)
        ):
            self._rebuild()
        elif advanced:
            self._release(self._pool.parked(advanced))

    def _reset(self) -> None:
        self._is_stale = False  # first, since the engine's thread may set it again
        self._layers = []
        self._top = Overlay(self._accepted)
        self._admitted = self._written = 0
        try:
            self._begin(self._top)
        except BaseException as error:
            self._is_stale = True  # or the next transaction would run without `begin`
            if isinstance(error, Invalid) and not self._is_refused:
                self._is_refused = True
                _log.warning("begin refuses the next block, so no transaction is admitted: %s", error)
            raise
        self._is_refused = False

    def _rebuild(self) -> None:
        """Execute all waiting transactions again, and drop those that have become invalid."""
        started = self._clock()
        self._reset()
        for pending in (*self._pool.ordered(), *self._pool.parked()):
            if pending.id not in self._pool:
                continue  # evicted meanwhile, or accepted
            try:
                state = self._try(pending)
                self._pool.release(pending, state.written)
            except MempoolFull as error:
                self._pool.remove(pending.id, f"evicted: {error}")
            except Exception as error:  # noqa: BLE001 - the next build reports a bug in the rules
                if isinstance(error, NotYet) and pending.sender is not None:
                    self._pool.park(pending)
                else:
                    self._pool.remove(pending.id, f"no longer valid: {error}")
            else:
                self._absorb(state)
        finished = self._clock()
        self._rebuild_at = finished + REBUILD_SHARE * (finished - started)


class _Frozen(Overlay):
    """A read-only layer."""

    def write(self, key: bytes, value: bytes | None) -> None:
        self._refuse()

    def emit(self, topic: bytes | str, data: bytes = b"") -> None:
        self._refuse()

    def absorb(self, overlay: Overlay) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise VMError("a snapshot is read-only: submit a transaction to change the state")


def _stack(below: State, layers: list[dict[bytes, bytes | None]]) -> State:
    for layer in layers:
        below = _Frozen(below, layer)
    return below
