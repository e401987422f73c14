"""Decides when the node is told of work: level-triggered, so that a lost event never stalls the chain."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from vmsdk.events import Event
from vmsdk.rpc.faults import FaultLog
from vmsdk.rpc.syncend import SyncEnd
from vmsdk.state import State
from vmsdk.statesync import StateSyncMode
from vmsdk.vm import ChainVM

# The node retries a failed WaitForEvent after 100 ms (snow/engine/common/notifier.go); a build that
# fails is repeated no faster, and ever slower up to 2 s while it goes on failing.
FIRST_RETRY_S = 0.1
MAX_RETRY_S = 2.0
# The node verifies a block right after it was built; until then the block's work still looks pending.
MAX_UNVERIFIED_S = 2.0
# The node has one wait outstanding, and a cancelled one may overlap with its successor for a moment.
MAX_WAITS = 4


class Wait:
    """One call that waits for an event, and the means to end it early."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.cancelled = threading.Event()
        self._wake = wake

    def cancel(self) -> None:
        """End the wait without an event. From any thread, as often as you like."""
        self.cancelled.set()
        self._wake()


class EventSource:
    """What there is to tell the node, from the VM's `has_pending_work` and the state of the chain."""

    def __init__(self, vm: ChainVM, lock: threading.RLock, faults: FaultLog) -> None:
        self._vm = vm
        self._lock = lock
        self._faults = faults
        self._overridden = type(vm).wait_for_event is not ChainVM.wait_for_event
        self._condition = threading.Condition()
        self._changes = 0
        self._closed = False
        self._waits: list[Wait] = []
        self._state: State | None = None
        self._sync_end = SyncEnd()
        self._unverified: bytes | None = None
        self._quiet_until = 0.0
        self._failures = 0
        self._builds = 0
        self._states = 0
        self._asking: int | None = None
        self._author_waits = False
        self._late: Event | None = None

    # What happens to the chain ---------------------------------------------------------------------

    def notify(self) -> None:
        """The author says that there may be work."""
        if self._asking == threading.get_ident():
            return  # from inside has_pending_work, whose answer says it: asking again would never end
        with self._condition:
            if self._failures:
                self._failures = 0
                self._quiet_until = min(self._quiet_until, time.monotonic() + FIRST_RETRY_S)
            self._change()

    def changed(self) -> None:
        """Something was decided or preferred, so the answer of `has_pending_work` may be another."""
        with self._condition:
            self._change()

    def syncing(self, mode: StateSyncMode) -> None:
        """The VM has accepted a state summary."""
        with self._condition:
            self._sync_end.begin(mode)

    def finish_state_sync(self) -> None:
        """The author says that state sync has ended."""
        with self._condition:
            self._sync_end.finish()
            self._change()

    def state_set(self, state: State) -> None:
        """The node has begun another phase."""
        with self._condition:
            self._state = state
            self._sync_end.enter(state)
            self._states += 1
            self._change()

    def built(self, block_id: bytes) -> None:
        """A block was built, which the node verifies next."""
        with self._condition:
            self._builds += 1
            self._unverified = block_id
            self._quiet_until = time.monotonic() + MAX_UNVERIFIED_S
            self._change()

    def build_failed(self) -> None:
        """The node asked for a block and got none."""
        with self._condition:
            self._builds += 1
            self._back_off()

    def verified(self, block_id: bytes, *, valid: bool) -> None:
        """A block was verified. One built here that is not valid counts as a build that failed."""
        with self._condition:
            if self._unverified != block_id:
                return
            if valid:
                self._unverified = None
                self._failures = 0
                self._quiet_until = 0.0
                self._change()
            else:
                self._back_off()

    def _back_off(self) -> None:
        self._unverified = None
        delay = min(FIRST_RETRY_S * 2.0**self._failures, MAX_RETRY_S)
        self._failures = min(self._failures + 1, 16)
        self._quiet_until = time.monotonic() + delay
        self._change()

    def close(self) -> None:
        """End every wait, and answer each later one at once with nothing."""
        with self._condition:
            self._closed = True
            waits = list(self._waits)
            self._change()
        for wait in waits:
            wait.cancel()

    def _change(self) -> None:
        self._changes += 1
        self._condition.notify_all()

    # Waiting ---------------------------------------------------------------------------------------

    def begin(self) -> Wait:
        """A new wait. When there are too many, the oldest are ended: nobody listens to them any more."""
        wait = Wait(self.changed)
        with self._condition:
            self._waits.append(wait)
            ended = self._waits[:] if self._closed else self._waits[:-MAX_WAITS]
        for old in ended:
            old.cancel()
        return wait

    def wait(self, wait: Wait) -> Event | None:
        """Block until there is an event, or until *wait* is cancelled: then None."""
        try:
            if self._overridden:
                event = self._ask_author(wait)
                if event is not None or wait.cancelled.is_set():
                    return event
            return self._wait(wait)
        finally:
            with self._condition:
                self._waits.remove(wait)

    def untold(self, event: Event) -> None:
        """The node was not told of *event* after all."""
        with self._condition:
            if event is Event.STATE_SYNC_FINISHED:
                self._sync_end.give_back()
                self._change()

    def queued(self, event: Event) -> None:
        """*event* is in the node's queue, out of which nothing gets lost."""
        with self._condition:
            if event is Event.STATE_SYNC_FINISHED:
                self._sync_end.queue()

    def _ask_author(self, wait: Wait) -> Event | None:
        """What the author's own `wait_for_event` says.

        It is called for one wait at a time: if it overlooks a cancellation, one thread is stuck and not, in
        the end, all. An event that comes too late for one wait is given to the next.
        """
        with self._condition:
            self._condition.wait_for(lambda: wait.cancelled.is_set() or not self._author_waits)
            if wait.cancelled.is_set():
                return None
            event, self._late = self._late, None
            if event is not None:
                return event
            self._author_waits = True
        try:
            told = self._vm.wait_for_event(wait.cancelled)
            event = None if told is None else Event(told)
        finally:
            with self._condition:
                self._author_waits = False
                if wait.cancelled.is_set():
                    event, self._late = None, event
                self._condition.notify_all()
        return event

    def _wait(self, wait: Wait) -> Event | None:
        while True:
            with self._condition:
                changes = self._changes
            event, delay_s = self._poll()
            with self._condition:
                if wait.cancelled.is_set():
                    return None
                if event is Event.BUILD_BLOCK or (event is not None and self._sync_end.take()):
                    return event
                if event is None and self._changes == changes:
                    self._condition.wait(delay_s)

    def _poll(self) -> tuple[Event | None, float | None]:
        """The event to tell now, or how long the answer stays the same while nothing changes."""
        quiet_s = self._quiet_s()
        if quiet_s == 0 and self._has_pending_work():
            return Event.BUILD_BLOCK, None
        with self._condition:
            if self._sync_end.is_due:
                # After any work: in normal operation this event uses up the node's question.
                return Event.STATE_SYNC_FINISHED, None
        return None, quiet_s or None

    def _quiet_s(self) -> float | None:
        """For how long work is not to be told, in seconds; None: until something changes."""
        with self._condition:
            if self._closed or self._state is not State.NORMAL_OP:
                return None
            return max(0.0, self._quiet_until - time.monotonic())

    def _has_pending_work(self) -> bool:
        with self._lock:
            # While this thread waited for the lock, the work may have gone into a block, or the chain ended.
            if self._quiet_s() != 0:
                return False
            self._asking = threading.get_ident()
            try:
                return bool(self._vm.has_pending_work())
            except BaseException as error:  # noqa: BLE001 - the author's code; the chain must go on
                self._faults.record("has_pending_work", error, "taken as: no work")
                return False
            finally:
                self._asking = None

    # Being heard, for nodes that are told instead of asking (until protocol 41) ----------------------

    def hearings(self, event: Event) -> int:
        """How often the node has acted on this kind of event."""
        with self._condition:
            return self._hearings(event)

    def wait_until_heard(self, event: Event, hearings: int, timeout_s: float) -> None:
        """Block until the node has acted on *event* since *hearings*, at most *timeout_s* seconds."""
        with self._condition:
            self._condition.wait_for(
                lambda: (
                    self._closed
                    or self._hearings(event) != hearings
                    or (event is Event.STATE_SYNC_FINISHED and self._is_settled())
                ),
                timeout=timeout_s,
            )

    def _is_settled(self) -> bool:
        return self._sync_end.is_told_once and not self._sync_end.is_due and not self._overridden

    def _hearings(self, event: Event) -> int:
        return self._builds if event is Event.BUILD_BLOCK else self._states
