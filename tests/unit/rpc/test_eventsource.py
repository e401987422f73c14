"""When the node is told of work."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from vmsdk.block import Block
from vmsdk.context import Context
from vmsdk.errors import VMError
from vmsdk.ids import ID
from vmsdk.rpc import eventsource
from vmsdk.rpc.errors import FaultLog
from vmsdk.rpc.events import Notifier
from vmsdk.rpc.eventsource import (
    FIRST_RETRY_S,
    LOST_S,
    MAX_REPEATS,
    MAX_UNVERIFIED_S,
    MAX_WAITS,
    EventSource,
)
from vmsdk.services.messenger import MessengerClient
from vmsdk.state import Event, State
from vmsdk.statesync import StateSyncMode
from vmsdk.vm import ChainVM

ONE = ID(bytes([1]) * 32)
# Long enough for any machine; only a failing test waits that long.
PATIENCE_S = 60.0
LITTLE_S = 0.001
LATER_S = LOST_S + LITTLE_S


class Work(ChainVM):
    """A VM that only knows whether it has work."""

    pending = False
    fault: BaseException | None = None

    def initialize(self, ctx: Context, genesis: bytes, upgrade: bytes, config: bytes) -> None: ...
    def last_accepted(self) -> ID:
        return ID.EMPTY

    def get_block(self, block_id: ID) -> Block:
        raise NotImplementedError

    parse_block: Any = get_block
    build_block: Any = last_accepted

    def set_preference(self, block_id: ID) -> None: ...
    def get_block_id_at_height(self, height: int) -> ID:
        return ID.EMPTY

    def has_pending_work(self) -> bool:
        if self.fault is not None:
            raise self.fault
        return self.pending


class Asked:
    """A question of the node, asked on a thread of its own."""

    def __init__(self, events: EventSource) -> None:
        self.wait = events.begin()
        self.answer: Event | None = None
        self.answered = threading.Event()
        self._events = events
        self._condition = cast("WatchedCondition", events._condition)
        self._condition.idle.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.answer = self._events.wait(self.wait)
        self.answered.set()

    def get(self) -> Event | None:
        assert self.answered.wait(PATIENCE_S), "the wait did not end"
        self._thread.join()
        return self.answer

    def waits(self) -> bool:
        """Whether the thread has seen the last change and goes on waiting."""
        return self._condition.idle.wait(PATIENCE_S) and not self.answered.is_set()


class WatchedLock:
    """A chain's lock, of which one can see that somebody wants it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.acquire = self._lock.acquire
        self.wanted = threading.Event()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self.wanted.set()
            self._lock.acquire()

    def __exit__(self, *failure: object) -> None:
        self._lock.release()


class WatchedCondition(threading.Condition):
    """A condition that shows whether a thread waits on, having seen the last change."""

    def __init__(self, lock: threading.RLock) -> None:
        super().__init__(lock)
        self.idle = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.idle.set()
        return super().wait(timeout)

    def notify_all(self) -> None:
        self.idle.clear()
        super().notify_all()


class World:
    """An event source whose clock stands still until a test moves it."""

    def __init__(self, vm: ChainVM) -> None:
        self.lock = WatchedLock()
        self.faults = FaultLog(logging.getLogger("test"))
        self.now_s = 1_000.0
        self.events = EventSource(vm, cast("threading.RLock", self.lock), self.faults, lambda: self.now_s)
        lock = threading.RLock()
        self.events._condition = WatchedCondition(lock)
        self.events._reacted = threading.Condition(lock)

    def skip(self, seconds: float) -> None:
        """Let time pass, without waiting."""
        self.now_s += seconds
        self.events._wake()


@pytest.fixture(autouse=True)
def _no_recheck(monkeypatch: pytest.MonkeyPatch) -> None:
    # Real time passes only where a test says so.
    monkeypatch.setattr(eventsource, "RECHECK_S", PATIENCE_S)


@pytest.fixture
def vm() -> Work:
    return Work()


@pytest.fixture
def world(vm: Work) -> Iterator[World]:
    world = World(vm)
    yield world
    world.events.close()


@pytest.fixture
def events(world: World) -> EventSource:
    world.events.state_set(State.NORMAL_OP)
    return world.events


@contextmanager
def asking(events: EventSource) -> Iterator[Asked]:
    asked = Asked(events)
    yield asked
    asked.wait.cancel()
    assert asked.answered.wait(PATIENCE_S)


def test_edge_56_work_that_is_there_already_is_reported_at_once_and_again(
    vm: Work, events: EventSource
) -> None:
    vm.pending = True
    assert [Asked(events).get() for _ in range(3)] == [Event.BUILD_BLOCK] * 3


def test_a_wait_ends_when_the_author_notifies(vm: Work, events: EventSource) -> None:
    with asking(events) as asked:
        vm.pending = True
        events.notify()
        assert asked.get() is Event.BUILD_BLOCK


def test_a_notification_while_the_author_is_asked_is_not_missed(vm: Work, events: EventSource) -> None:
    def has_pending_work() -> bool:
        del vm.has_pending_work
        vm.pending = True
        notifier = threading.Thread(target=events.notify)
        notifier.start()
        notifier.join()
        return False

    vm.has_pending_work = has_pending_work  # type: ignore[method-assign]
    assert Asked(events).get() is Event.BUILD_BLOCK


def test_a_notification_without_work_ends_no_wait(vm: Work, events: EventSource) -> None:
    with asking(events) as asked:
        events.notify()
        assert asked.waits()


def test_edge_55_a_cancelled_wait_ends_and_the_next_one_works(vm: Work, events: EventSource) -> None:
    asked = Asked(events)
    asked.wait.cancel()
    assert asked.get() is None
    vm.pending = True
    assert Asked(events).get() is Event.BUILD_BLOCK


def is_asked_to_build_after(world: World, span_s: float) -> bool:
    """Whether an event comes once *span_s* seconds have passed, and none before."""
    with asking(world.events) as asked:
        world.skip(span_s - LITTLE_S)
        early = not asked.waits()
        world.skip(2 * LITTLE_S)
        return not early and asked.get() is Event.BUILD_BLOCK


def test_edge_57_after_failed_builds_events_are_spaced(vm: Work, events: EventSource, world: World) -> None:
    vm.pending = True
    for factor in (1, 2, 4):
        events.build_failed()
        assert is_asked_to_build_after(world, factor * FIRST_RETRY_S)


def test_new_work_after_failed_builds_waits_for_one_retry(
    vm: Work, events: EventSource, world: World
) -> None:
    vm.pending = True
    for _ in range(6):
        events.build_failed()
    events.notify()
    assert is_asked_to_build_after(world, FIRST_RETRY_S)


def test_a_built_block_is_not_work_until_it_was_verified(vm: Work, events: EventSource) -> None:
    vm.pending = True
    events.built(ONE)
    with asking(events) as asked:
        assert asked.waits()
        events.verified(ONE, valid=True)
        assert asked.get() is Event.BUILD_BLOCK


def test_work_that_went_into_a_block_while_the_lock_was_held_is_not_reported(
    vm: Work, events: EventSource, world: World
) -> None:
    vm.pending = True
    with world.lock:
        asked = Asked(events)
        assert world.lock.wanted.wait(PATIENCE_S)
        events.built(ONE)
    assert asked.waits()
    events.verified(ONE, valid=True)
    assert asked.get() is Event.BUILD_BLOCK


def test_a_built_block_that_turns_out_invalid_spaces_events_like_a_failed_build(
    vm: Work, events: EventSource, world: World
) -> None:
    vm.pending = True
    for factor in (1, 2, 4):
        events.built(ONE)
        events.verified(ONE, valid=False)
        assert is_asked_to_build_after(world, factor * FIRST_RETRY_S)
    events.built(ONE)
    events.verified(ONE, valid=True)
    events.built(ONE)
    events.verified(ONE, valid=False)
    assert is_asked_to_build_after(world, FIRST_RETRY_S)


def test_a_built_block_that_is_never_verified_holds_the_chain_up_only_for_a_while(
    vm: Work, events: EventSource, world: World
) -> None:
    vm.pending = True
    events.built(ONE)
    assert is_asked_to_build_after(world, MAX_UNVERIFIED_S)


@pytest.mark.parametrize("state", [None, State.STATE_SYNCING, State.BOOTSTRAPPING])
def test_no_work_is_reported_before_normal_operation(vm: Work, world: World, state: State | None) -> None:
    vm.pending = True
    if state is not None:
        world.events.state_set(state)
    with asking(world.events) as asked:
        assert asked.waits()
        world.events.state_set(State.NORMAL_OP)
        assert asked.get() is Event.BUILD_BLOCK


def test_the_end_of_state_sync_is_reported_until_the_node_has_set_a_state(vm: Work, world: World) -> None:
    vm.pending = True
    world.events.state_set(State.STATE_SYNCING)
    world.events.finish_state_sync()
    assert [Asked(world.events).get() for _ in range(2)] == [Event.STATE_SYNC_FINISHED] * 2
    world.events.state_set(State.NORMAL_OP)
    assert Asked(world.events).get() is Event.BUILD_BLOCK


def test_the_end_of_a_dynamic_sync_in_normal_operation_is_reported_once_after_the_work(
    vm: Work, events: EventSource, world: World
) -> None:
    vm.pending = True
    events.finish_state_sync()
    assert Asked(events).get() is Event.BUILD_BLOCK
    vm.pending = False
    assert Asked(events).get() is Event.STATE_SYNC_FINISHED
    world.skip(LATER_S)
    with asking(events) as asked:
        assert asked.waits()


def test_the_end_of_a_dynamic_sync_is_reported_again_to_a_node_that_asks_again_at_once(
    events: EventSource, world: World
) -> None:
    # It dropped what it was told: it cancelled in that moment, when the answer was on its way.
    events.finish_state_sync()
    for _ in range(3):
        assert Asked(events).get() is Event.STATE_SYNC_FINISHED
    world.skip(LATER_S)
    with asking(events) as asked:
        assert asked.waits()


def test_the_end_of_a_dynamic_sync_is_not_reported_for_ever_on_a_busy_chain(events: EventSource) -> None:
    events.finish_state_sync()
    told = [Asked(events).get() for _ in range(MAX_REPEATS + 1)]
    assert told == [Event.STATE_SYNC_FINISHED] * (MAX_REPEATS + 1)
    with asking(events) as asked:
        assert asked.waits()


def test_the_end_of_a_dynamic_sync_is_not_lost_with_a_wait_that_is_cancelled_meanwhile(
    vm: Work, events: EventSource
) -> None:
    events.finish_state_sync()
    wait = events.begin()
    vm.has_pending_work = wait.cancel  # type: ignore[method-assign, assignment]
    assert events.wait(wait) is None
    del vm.has_pending_work
    assert Asked(events).get() is Event.STATE_SYNC_FINISHED


def test_the_end_of_a_dynamic_sync_outlives_the_state_that_follows_its_begin(vm: Work, world: World) -> None:
    # The node drops what it is told between the accept of the summary and the SetState after it.
    world.events.state_set(State.STATE_SYNCING)
    world.events.finish_state_sync()
    assert Asked(world.events).get() is Event.STATE_SYNC_FINISHED
    world.events.syncing(StateSyncMode.DYNAMIC)
    world.events.state_set(State.BOOTSTRAPPING)
    assert Asked(world.events).get() is Event.STATE_SYNC_FINISHED
    world.skip(LATER_S)
    with asking(world.events) as asked:
        assert asked.waits()
        world.events.state_set(State.NORMAL_OP)
        assert asked.waits()


def test_what_is_in_an_old_nodes_queue_is_not_reported_again(world: World) -> None:
    world.events.state_set(State.STATE_SYNCING)
    world.events.finish_state_sync()
    event = Asked(world.events).get()
    assert event is not None
    world.events.queued(event)
    world.events.syncing(StateSyncMode.DYNAMIC)
    world.events.state_set(State.BOOTSTRAPPING)
    with asking(world.events) as asked:
        assert asked.waits()


def test_the_end_of_a_dynamic_sync_that_nobody_asked_for_while_bootstrapping_is_reported_later(
    world: World,
) -> None:
    world.events.syncing(StateSyncMode.DYNAMIC)
    world.events.state_set(State.BOOTSTRAPPING)
    world.events.finish_state_sync()
    world.events.state_set(State.NORMAL_OP)
    assert Asked(world.events).get() is Event.STATE_SYNC_FINISHED


def test_the_end_of_a_dynamic_sync_that_could_not_be_reported_is_reported_again(events: EventSource) -> None:
    events.finish_state_sync()
    event = Asked(events).get()
    assert event is Event.STATE_SYNC_FINISHED
    events.not_reported(event)
    assert Asked(events).get() is Event.STATE_SYNC_FINISHED


def test_an_end_of_state_sync_that_the_node_knows_by_now_is_not_reported_again(world: World) -> None:
    world.events.state_set(State.STATE_SYNCING)
    world.events.finish_state_sync()
    event = Asked(world.events).get()
    assert event is not None
    world.events.state_set(State.BOOTSTRAPPING)
    world.events.not_reported(event)
    with asking(world.events) as asked:
        assert asked.waits()


def test_more_waits_than_a_node_can_have_end_the_oldest(vm: Work, events: EventSource) -> None:
    asked = [Asked(events) for _ in range(MAX_WAITS + 1)]
    assert asked[0].get() is None
    assert not any(later.answered.is_set() for later in asked[1:])
    events.close()
    assert [later.get() for later in asked[1:]] == [None] * MAX_WAITS


def test_closing_ends_every_wait_and_each_later_one(vm: Work, events: EventSource) -> None:
    asked = Asked(events)
    events.close()
    assert asked.get() is None
    assert Asked(events).get() is None


def test_the_author_is_not_asked_once_the_chain_has_ended(
    vm: Work, events: EventSource, world: World
) -> None:
    vm.fault = AssertionError("asked too late")
    with world.lock:
        asked = Asked(events)
        assert world.lock.wanted.wait(PATIENCE_S)
        events.close()
    assert asked.get() is None
    assert world.faults.counts() == {}


def test_a_notification_from_inside_has_pending_work_does_not_ask_again(
    vm: Work, events: EventSource
) -> None:
    times: list[int] = []

    def has_pending_work() -> bool:
        times.append(1)
        events.notify()
        return False

    vm.has_pending_work = has_pending_work  # type: ignore[method-assign]
    with asking(events) as asked:
        events.notify()
        assert asked.waits()
        assert len(times) <= 2


@pytest.mark.parametrize("fault", [RuntimeError("lost my mempool"), SystemExit("lost my mempool")])
def test_a_fault_of_has_pending_work_is_not_work_and_is_logged(
    vm: Work, events: EventSource, world: World, caplog: pytest.LogCaptureFixture, fault: BaseException
) -> None:
    vm.fault = fault
    with asking(events) as asked:
        events.notify()
        assert asked.waits()
        vm.fault, vm.pending = None, True
        events.notify()
        assert asked.get() is Event.BUILD_BLOCK
    assert world.faults.counts()["has_pending_work"] >= 1
    assert "lost my mempool" in caplog.text


def test_a_has_pending_work_without_a_return_is_a_fault(
    vm: Work, events: EventSource, caplog: pytest.LogCaptureFixture
) -> None:
    vm.pending = cast("bool", None)
    with asking(events) as asked:
        assert asked.waits()
    assert "has_pending_work returned None: it must return True or False" in caplog.text


def test_has_pending_work_is_asked_with_the_lock_held() -> None:
    class Curious(Work):
        def has_pending_work(self) -> bool:
            # Another thread can't get a lock that this one holds.
            taken: list[bool] = []
            thread = threading.Thread(target=lambda: taken.append(curious.lock.acquire(blocking=False)))
            thread.start()
            thread.join()
            return taken == [False]

    curious = World(Curious())
    curious.events.state_set(State.NORMAL_OP)
    assert Asked(curious.events).get() is Event.BUILD_BLOCK


def test_an_author_may_tell_events_in_a_way_of_their_own() -> None:
    class Own(Work):
        def wait_for_event(self, cancelled: threading.Event) -> Event | None:
            return Event.STATE_SYNC_FINISHED

    assert Asked(World(Own()).events).get() is Event.STATE_SYNC_FINISHED


def test_an_own_wait_is_notified_of_its_cancellation() -> None:
    class Own(Work):
        def wait_for_event(self, cancelled: threading.Event) -> Event | None:
            cancelled.wait()
            return None

    asked = Asked(World(Own()).events)
    asked.wait.cancel()
    assert asked.get() is None


def test_an_own_wait_that_overlooks_its_cancellation_holds_up_one_thread_and_loses_nothing() -> None:
    class Deaf(Work):
        def __init__(self) -> None:
            self.told: queue.SimpleQueue[Event] = queue.SimpleQueue()
            self.begun = threading.Semaphore(0)

        def wait_for_event(self, cancelled: threading.Event) -> Event | None:
            self.begun.release()
            return self.told.get()

    vm = Deaf()
    events = World(vm).events
    first = Asked(events)
    assert vm.begun.acquire(timeout=PATIENCE_S)
    first.wait.cancel()
    later = [Asked(events) for _ in range(10)]
    for asked in later[:-1]:
        asked.wait.cancel()
        assert asked.get() is None
    vm.told.put(Event.BUILD_BLOCK)
    assert later[-1].get() is Event.BUILD_BLOCK
    assert first.get() is None
    assert not vm.begun.acquire(blocking=False)


def test_a_late_event_is_there_before_the_next_wait_goes_on() -> None:
    class Deaf(Work):
        calls = 0

        def wait_for_event(self, cancelled: threading.Event) -> Event | None:
            self.calls += 1
            if self.calls > 1:
                passed.set()
            return told.get()

    class Slow(WatchedCondition):
        """Whoever has let the next wait go on does nothing more before that has passed."""

        def __exit__(self, *failure: Any) -> None:
            super().__exit__(*failure)
            if threading.current_thread() in slow and events._author_thread is None:
                passed.wait(PATIENCE_S)

    vm, passed, lock = Deaf(), threading.Event(), threading.RLock()
    told: queue.SimpleQueue[Event] = queue.SimpleQueue()
    slow: list[threading.Thread] = []
    events = World(vm).events
    events._condition, events._reacted = Slow(lock), threading.Condition(lock)
    first = Asked(events)
    slow.append(first._thread)
    later = Asked(events)
    assert later.waits()
    later.answered = passed
    first.wait.cancel()
    told.put(Event.BUILD_BLOCK)
    assert passed.wait(PATIENCE_S)
    assert vm.calls == 1, "the author was asked for another event"
    assert (first.get(), later.get()) == (None, Event.BUILD_BLOCK)


def test_an_event_was_heard_when_the_node_has_built(events: EventSource) -> None:
    reactions = events.count_reactions(Event.BUILD_BLOCK)
    threading.Thread(target=lambda: events.built(ONE)).start()
    events.wait_for_reaction(Event.BUILD_BLOCK, reactions, PATIENCE_S)
    assert events.count_reactions(Event.BUILD_BLOCK) == reactions + 1


def test_nothing_shows_that_the_end_of_a_dynamic_sync_was_heard(events: EventSource) -> None:
    events.finish_state_sync()
    event = Asked(events).get()
    assert event is Event.STATE_SYNC_FINISHED
    arguments = (event, events.count_reactions(event), threading.TIMEOUT_MAX)
    waiting = threading.Thread(target=events.wait_for_reaction, args=arguments, daemon=True)
    waiting.start()
    waiting.join(PATIENCE_S)
    assert not waiting.is_alive()


def test_an_own_wait_does_not_spin_while_builds_fail() -> None:
    class Own(Work):
        def wait_for_event(self, cancelled: threading.Event) -> Event | None:
            return Event.BUILD_BLOCK

    world = World(Own())
    events = world.events
    events.state_set(State.NORMAL_OP)
    assert Asked(events).get() is Event.BUILD_BLOCK
    for failures in range(3):
        events.build_failed()
        asked = Asked(events)
        world.skip(FIRST_RETRY_S * 2**failures - LITTLE_S)
        assert asked.waits()
        world.skip(2 * LITTLE_S)
        assert asked.get() is Event.BUILD_BLOCK


def test_an_event_of_an_own_wait_that_is_held_back_and_cancelled_goes_to_the_next() -> None:
    class Once(Work):
        told = False

        def wait_for_event(self, cancelled: threading.Event) -> Event | None:
            if not self.told:
                self.told = True
                return Event.BUILD_BLOCK
            cancelled.wait()
            return None

    world = World(Once())
    world.events.state_set(State.NORMAL_OP)
    world.events.build_failed()
    first = Asked(world.events)
    first.wait.cancel()
    assert first.get() is None
    second = Asked(world.events)
    world.skip(FIRST_RETRY_S)
    assert second.get() is Event.BUILD_BLOCK


class Messages(Work):
    """It reports each event once, and waits for the next."""

    def __init__(self) -> None:
        self.told: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self.begun = threading.Semaphore(0)

    def wait_for_event(self, cancelled: threading.Event) -> Event | None:
        self.begun.release()
        return self.told.get()


@pytest.mark.parametrize("event", list(Event))
def test_an_event_of_an_own_wait_that_was_not_reported_goes_to_the_next(event: Event) -> None:
    vm = Messages()
    events = World(vm).events
    events.state_set(State.NORMAL_OP)
    vm.told.put(event)
    assert Asked(events).get() is event
    events.not_reported(event)
    vm.told.put(None)  # only a failing test asks for it
    with asking(events) as asked:
        assert asked.get() is event


def test_an_event_of_an_own_wait_that_was_not_reported_outlives_a_wait_that_began_before() -> None:
    vm = Messages()
    events = World(vm).events
    events.state_set(State.NORMAL_OP)
    vm.told.put(Event.BUILD_BLOCK)
    assert Asked(events).get() is Event.BUILD_BLOCK
    later = Asked(events)
    for _ in range(2):
        assert vm.begun.acquire(timeout=PATIENCE_S)
    events.not_reported(Event.BUILD_BLOCK)
    later.wait.cancel()
    vm.told.put(None)
    assert later.get() is None
    vm.told.put(None)
    with asking(events) as asked:
        assert asked.get() is Event.BUILD_BLOCK


def test_events_of_an_own_wait_that_come_too_late_are_all_kept() -> None:
    vm = Messages()
    events = World(vm).events
    events.state_set(State.NORMAL_OP)
    events.not_reported(Event.STATE_SYNC_FINISHED)
    events.not_reported(Event.BUILD_BLOCK)
    events.not_reported(Event.BUILD_BLOCK)
    vm.told.put(None)
    assert [Asked(events).get() for _ in range(2)] == [Event.STATE_SYNC_FINISHED, Event.BUILD_BLOCK]
    with asking(events) as asked:
        assert asked.waits()


@pytest.mark.parametrize("refusal", [None, VMError("the node is busy")])
def test_an_old_node_whose_queue_is_full_gets_the_event_of_an_own_wait_later(
    refusal: VMError | None,
) -> None:
    class Node:
        """It takes the second event."""

        def __init__(self) -> None:
            self.asked: list[Event] = []
            self.took = threading.Event()

        def notify(self, event: Event) -> bool:
            self.asked.append(event)
            if len(self.asked) > 1:
                self.took.set()
            elif refusal is not None:
                raise refusal
            return self.took.is_set()

    vm, node, log = Messages(), Node(), logging.getLogger("test")
    events = World(vm).events
    events.state_set(State.NORMAL_OP)
    notifier = Notifier(events, cast("MessengerClient", node), FaultLog(log), log)
    notifier.start()
    vm.told.put(Event.BUILD_BLOCK)
    took = node.took.wait(PATIENCE_S)
    notifier.stop()
    events.close()
    vm.told.put(None)
    assert took
    assert node.asked == [Event.BUILD_BLOCK] * 2


# A forgotten notify ------------------------------------------------------------------------------


def test_work_without_a_notify_is_found_and_reported_once(
    vm: Work, events: EventSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(eventsource, "RECHECK_S", 0.01)
    monkeypatch.setattr(eventsource, "FORGOTTEN_S", 0.01)
    for _ in range(2):
        with asking(events) as asked:
            assert asked.waits()
            vm.pending = True
            assert asked.get() is Event.BUILD_BLOCK
        vm.pending = False
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("has_pending_work returns True, but ctx.notify() was not called")


def test_a_notify_right_after_its_work_is_not_forgotten(
    vm: Work, events: EventSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(eventsource, "RECHECK_S", 0.01)
    monkeypatch.setattr(eventsource, "FORGOTTEN_S", PATIENCE_S)
    asked_again = threading.Event()

    def work() -> bool:
        if vm.pending:
            asked_again.set()
        return vm.pending

    monkeypatch.setattr(vm, "has_pending_work", work)
    with asking(events) as asked:
        vm.pending = True
        assert asked_again.wait(PATIENCE_S)
        events.notify()
        assert asked.get() is Event.BUILD_BLOCK
    assert not caplog.records


def test_a_decision_wakes_a_wait_for_work_alone(vm: Work, events: EventSource) -> None:
    callers: list[int] = []
    asked_first = threading.Event()

    def has_pending_work() -> bool:
        callers.append(threading.get_ident())
        pending = vm.pending
        asked_first.set()
        return pending

    vm.has_pending_work = has_pending_work  # type: ignore[method-assign]
    asked = Asked(events)
    assert asked_first.wait(PATIENCE_S)
    for _ in range(50):
        events.changed()
    vm.pending = True
    events.changed()
    assert asked.get() is Event.BUILD_BLOCK
    here = callers.count(threading.get_ident())
    assert here == 51
    assert len(callers) - here == 2


def test_without_a_wait_a_decision_does_not_ask_the_vm(vm: Work, events: EventSource) -> None:
    vm.has_pending_work = lambda: pytest.fail("asked")  # type: ignore[method-assign]
    events.changed()
    events.built(b"1")
    events.verified(b"1", valid=True)
