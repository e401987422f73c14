"""Decides when to report events: level-triggered, so that a lost event never stalls the chain."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from vmsdk.errors import VMError
from vmsdk.rpc.conversion import truth, unusable
from vmsdk.rpc.errors import FaultLog
from vmsdk.rpc.watchdog import Watchdog, end_if_forked
from vmsdk.state import Event, State
from vmsdk.statesync import StateSyncMode
from vmsdk.vm import ChainVM

# The node retries a failed WaitForEvent after 100 ms (snow/engine/common/notifier.go). A failed
# build is retried no faster than that; the delay doubles up to 2 s while builds keep failing.
FIRST_RETRY_S = 0.1
MAX_RETRY_S = 2.0
# The node verifies a block right after building it. Until then, has_pending_work may still count
# the block's work.
MAX_UNVERIFIED_S = 2.0
# The node has one wait at a time, but a cancelled one may briefly overlap with the next.
MAX_WAITS = 4
# A node that drops an event waits again at once. If it does so this soon, it has probably not
# received the end of a dynamic state sync.
LOST_S = 0.2
# It may also wait again because something changed on a busy chain, so there is a limit.
MAX_REPEATS = 16
# How often has_pending_work is called without a notify.
RECHECK_S = 3.0
# How much later than its work a notify may come without being considered forgotten.
FORGOTTEN_S = 0.5


class Wait:
    """One wait for an event, which can be cancelled."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.cancelled = threading.Event()
        self._wake = wake

    def cancel(self) -> None:
        """End the wait without an event. Idempotent and thread-safe."""
        self.cancelled.set()
        self._wake()


class _SyncEnd:
    """Whether to report the end of a state sync. Used with the event source's lock held.

    The node waits for the end of a static sync, and sets the next state when it receives it. Until
    then the end is reported repeatedly, since the node may drop it. After a dynamic sync, or one
    that ends in normal operation, nothing shows that the node has received it. That end is reported
    once, and again only if the node waits again at once.
    """

    def __init__(self) -> None:
        self.is_due = False
        """Whether to report it."""
        self.state: State | None = None
        """The chain's phase; None before the node has set one."""
        self._dynamic = False
        self._queued = False
        self._taken_at = float("-inf")
        self._repeats = 0

    @property
    def is_reported_once(self) -> bool:
        """Whether nothing will show that the node has received it."""
        return self._dynamic or self.state is State.NORMAL_OP

    def begin(self, mode: StateSyncMode) -> None:
        """The VM has accepted a state summary."""
        self._dynamic = mode is StateSyncMode.DYNAMIC
        self._settle()

    def finish(self) -> None:
        """The author reports that the sync has ended."""
        self.is_due = True
        self._queued = False
        self._repeats = 0

    def enter(self, state: State) -> None:
        """The node has entered another phase."""
        self.state = state
        if not self._dynamic:
            self.is_due = False

    def take(self, now: float) -> bool:
        """The end is about to be reported. Returns whether it is still due."""
        due = self.is_due
        # A node that accepts a summary drops every event until the SetState that ends this phase.
        if due and self.is_reported_once and self.state is not State.STATE_SYNCING:
            self.is_due = False
            self._taken_at = now
        return due

    def asked(self, now: float) -> None:
        """Handle a new wait by the node, which may have dropped the last report."""
        if now - self._taken_at <= LOST_S and self._repeats < MAX_REPEATS and not self.is_due:
            self._repeats += 1
            self.is_due = True

    def give_back(self) -> None:
        """The report did not reach the node."""
        if self.is_reported_once:
            self.is_due = True

    def queue(self) -> None:
        """The report is in the node's queue, which loses nothing."""
        self._queued = True
        self._taken_at = float("-inf")
        self._settle()

    def _settle(self) -> None:
        if self._queued and self.is_reported_once:
            self.is_due = False


class EventSource:
    """The events to report, from the VM's `has_pending_work` and the state of the chain."""

    def __init__(
        self,
        vm: ChainVM,
        lock: threading.RLock,
        faults: FaultLog,
        clock: Callable[[], float] = time.monotonic,
        watchdog: Watchdog | None = None,
    ) -> None:
        self._vm = vm
        self._watchdog = watchdog or Watchdog()
        self._warned = False
        """Whether a missing notify was reported."""
        self._lock = lock
        self._faults = faults
        self._clock = clock
        self._overridden = type(vm).wait_for_event is not ChainVM.wait_for_event
        own_lock = threading.RLock()
        self._condition = threading.Condition(own_lock)
        self._reacted = threading.Condition(own_lock)
        self._changes = 0
        self._closed = False
        self._waits: list[Wait] = []
        self._sync_end = _SyncEnd()
        self._unverified: bytes | None = None
        self._quiet_until = 0.0
        self._failures = 0
        self._builds = 0
        self._states = 0
        self._asking: int | None = None
        """The thread in has_pending_work."""
        self._author_thread: int | None = None
        """The thread in the author's wait_for_event."""
        self._late: list[Event] = []
        """The author's events that came too late for a wait, or were not reported."""
        self._pid = os.getpid()

    # What happens to the chain --------------------------------------------------------------------

    def notify(self) -> None:
        """Handle the author's report that there may be work."""
        if self._asking == threading.get_ident():
            return  # has_pending_work itself notifies: calling it again would never end
        if os.getpid() != self._pid:
            raise VMError("ctx.notify() has no effect in a child process: call it in the plugin's process")
        with self._condition:
            if self._failures:
                self._failures = 0
                self._quiet_until = min(self._quiet_until, self._clock() + FIRST_RETRY_S)
            self._change()

    def changed(self) -> None:
        """Something was verified, decided or preferred, so the result of `has_pending_work` may
        have changed. With the chain's lock held.

        It is called here, because a waiting thread that wakes up would delay the engine's next
        call: it is woken only for work.
        """
        if not self._waits:
            return
        if self._overridden or (self._quiet_s() == 0 and self.has_pending_work()):
            self._wake()

    def _wake(self) -> None:
        with self._condition:
            self._change()

    def syncing(self, mode: StateSyncMode) -> None:
        """The VM has accepted a state summary."""
        with self._condition:
            self._sync_end.begin(mode)

    def finish_state_sync(self) -> None:
        """The author reports that state sync has ended."""
        with self._condition:
            self._sync_end.finish()
            self._change()

    def state_set(self, state: State) -> None:
        """The node has entered another phase."""
        with self._condition:
            self._sync_end.enter(state)
            self._states += 1
            self._change()

    def built(self, block_id: bytes) -> None:
        """A block was built, which the node verifies next."""
        with self._condition:
            self._builds += 1
            self._unverified = block_id
            self._quiet_until = self._clock() + MAX_UNVERIFIED_S
            self._changes += 1
            self._reacted.notify_all()  # but no waits: there is less work than before

    def build_failed(self) -> None:
        """The node requested a block and got none."""
        with self._condition:
            self._builds += 1
            self._back_off()

    def verified(self, block_id: bytes, *, valid: bool) -> None:
        """A block was verified. One built here that is not valid counts as a build that failed."""
        with self._condition:
            if self._unverified != block_id:
                return
            if not valid:
                self._back_off()
                return
            self._unverified = None
            self._failures = 0
            self._quiet_until = 0.0
        self.changed()

    def _back_off(self) -> None:
        self._unverified = None
        delay = min(FIRST_RETRY_S * 2.0**self._failures, MAX_RETRY_S)
        self._failures = min(self._failures + 1, 16)
        self._quiet_until = self._clock() + delay
        self._change()

    def close(self) -> None:
        """End every wait, and each later one at once."""
        with self._condition:
            self._closed = True
            waits = list(self._waits)
            self._change()
        for wait in waits:
            wait.cancel()

    def _change(self) -> None:
        self._changes += 1
        self._condition.notify_all()
        self._reacted.notify_all()

    # Waiting --------------------------------------------------------------------------------------

    def begin(self) -> Wait:
        """Return a new wait. If there are too many, the oldest end: the node has cancelled them."""
        wait = Wait(self._wake)
        with self._condition:
            self._sync_end.asked(self._clock())
            self._waits.append(wait)
            ended = self._waits[:] if self._closed else self._waits[:-MAX_WAITS]
        for old in ended:
            old.cancel()
        return wait

    def wait(self, wait: Wait) -> Event | None:
        """Block until there is an event, and return it; None if *wait* is cancelled."""
        try:
            if self._overridden:
                event = self._ask_author(wait)
                if event is not None or wait.cancelled.is_set():
                    return event
            return self._wait(wait)
        finally:
            with self._condition:
                self._waits.remove(wait)

    def not_reported(self, event: Event) -> None:
        """*event* did not reach the node."""
        with self._condition:
            if self._overridden:
                self._keep(event)
            elif event is Event.STATE_SYNC_FINISHED:
                self._sync_end.give_back()
                self._change()

    def queued(self, event: Event) -> None:
        """*event* is in the node's queue, which loses nothing."""
        with self._condition:
            if event is Event.STATE_SYNC_FINISHED:
                self._sync_end.queue()

    def _ask_author(self, wait: Wait) -> Event | None:
        """The event from the author's own `wait_for_event`.

        It is called for one wait at a time, so that if it ignores a cancellation, one thread hangs,
        and not eventually all of them. An event that comes too late for one wait goes to the next.
        """
        with self._condition:
            if self._author_thread is not None:
                # It is called for an earlier wait, which the node has cancelled.
                with self._watchdog.watch("wait_for_event, whose `cancelled` is set,") as watched:
                    watched.thread = self._author_thread
                    self._condition.wait_for(lambda: wait.cancelled.is_set() or self._author_thread is None)
            if wait.cancelled.is_set():
                return None
            event = self._late.pop(0) if self._late else None
            self._author_thread = threading.get_ident()
        try:
            if event is None:
                event = self._authors_event(wait)
            with self._condition:
                # A failed build is not retried at once, or both sides would spin.
                while event is Event.BUILD_BLOCK and not wait.cancelled.is_set():
                    quiet_s = self._quiet_until - self._clock()
                    if quiet_s <= 0:
                        break
                    self._condition.wait(quiet_s)
        finally:
            with self._condition:
                # Before the next wait continues, which would call the author's method again.
                if event is not None and wait.cancelled.is_set():
                    self._keep(event)
                    event = None
                self._author_thread = None
                self._condition.notify_all()
        return event

    def _keep(self, event: Event) -> None:
        if event not in self._late:
            self._late.append(event)

    def _authors_event(self, wait: Wait) -> Event | None:
        pid = os.getpid()
        try:
            returned: Any = self._vm.wait_for_event(wait.cancelled)
        finally:
            end_if_forked(pid, "wait_for_event")
        if returned is not None and returned not in list(Event):
            raise unusable("wait_for_event returned", returned, "return a vmsdk.Event, or None")
        return None if returned is None else Event(returned)

    def _wait(self, wait: Wait) -> Event | None:
        is_recheck = False
        while True:
            with self._condition:
                changes = self._changes
            event, delay_s = self._poll()
            with self._condition:
                if is_recheck and event is Event.BUILD_BLOCK and self._is_unchanged(changes, FORGOTTEN_S):
                    self._report_forgotten()
                if wait.cancelled.is_set():
                    return None
                if event is Event.BUILD_BLOCK:
                    return event
                if event is not None and self._sync_end.take(self._clock()):
                    return event
                is_recheck = event is None and self._is_unchanged(changes, delay_s) and delay_s == RECHECK_S

    def _is_unchanged(self, changes: int, timeout_s: float | None) -> bool:
        """Wait *timeout_s* seconds for a change since *changes*. Returns whether there was none."""
        return not self._condition.wait_for(lambda: self._changes != changes, timeout_s)

    def _poll(self) -> tuple[Event | None, float | None]:
        """The event to report now, or how long to wait for one while nothing changes."""
        quiet_s = self._quiet_s()
        if quiet_s == 0 and self._has_work_now():
            return Event.BUILD_BLOCK, None
        with self._condition:
            if self._sync_end.is_due:
                # After any work: in normal operation, this event uses up the node's wait.
                return Event.STATE_SYNC_FINISHED, None
        return None, RECHECK_S if quiet_s == 0 else quiet_s

    def _report_forgotten(self) -> None:
        if not self._warned:
            self._warned = True
            self._faults.log.warning(
                "has_pending_work returns True, but ctx.notify() was not called: call it when work arrives. "
                "Without it, vmsdk checks for work only every %g s",
                RECHECK_S,
            )

    def _quiet_s(self) -> float | None:
        """How many seconds to hold back work; None until something changes."""
        with self._condition:
            if self._closed or self._sync_end.state is not State.NORMAL_OP:
                return None
            return max(0.0, self._quiet_until - self._clock())

    def _has_work_now(self) -> bool:
        with self._watchdog.watch("has_pending_work", needs_lock=True), self._lock:
            # While this thread waited for the lock, a block may have been built, or the chain shut
            # down.
            return self._quiet_s() == 0 and self.has_pending_work()

    def has_pending_work(self) -> bool:
        """What the VM reports, with the chain's lock held. A fault counts as no work."""
        self._asking = threading.get_ident()
        try:
            return truth("has_pending_work", self._vm.has_pending_work())
        except BaseException as error:  # noqa: BLE001 - the author's code; the chain must continue
            self._faults.record("has_pending_work", error, "this counts as no work")
            return False
        finally:
            self._asking = None

    # For nodes that are sent events instead of waiting for them (until protocol 41) ---------------

    def count_reactions(self, event: Event) -> int:
        """How many times the node has reacted to this kind of event."""
        with self._condition:
            return self._reactions(event)

    def wait_for_reaction(self, event: Event, reactions: int, timeout_s: float) -> None:
        """Block until the node has reacted to *event* since *reactions* was counted, for at most
        *timeout_s* seconds.
        """
        with self._condition:
            self._reacted.wait_for(
                lambda: (
                    self._closed
                    or self._reactions(event) != reactions
                    or (event is Event.STATE_SYNC_FINISHED and self._is_settled())
                ),
                timeout=timeout_s,
            )

    def _is_settled(self) -> bool:
        return self._sync_end.is_reported_once and not self._sync_end.is_due and not self._overridden

    def _reactions(self, event: Event) -> int:
        return self._builds if event is Event.BUILD_BLOCK else self._states
