"""Events over the wire: asked for from protocol 42, told until 41."""

from __future__ import annotations

import threading
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

import vmsdk
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.rpc.eventsource import FIRST_RETRY_S, MAX_RETRY_S
from vmsdk.rpc.server import WAITS
from vmsdk.state import State
from vmsdk.statesync import StateSyncMode

from .conftest import Serve, Served, refused
from .plainvm import PlainVM

PATIENCE_S = 60.0
# How long a test waits to see that nothing comes.
QUIET_S = 0.2


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node is never late, however busy the machine is: nothing is sent to it again for that."""
    monkeypatch.setattr("vmsdk.rpc.events.RESEND_S", threading.TIMEOUT_MAX)
    monkeypatch.setattr("vmsdk.rpc.eventsource.MAX_UNVERIFIED_S", PATIENCE_S)


class BusyVM(PlainVM):
    """Has work while there are blocks to build."""

    def has_pending_work(self) -> bool:
        return bool(self.to_build)

    def work(self) -> None:
        self.to_build.append(self.child(b"work%d" % len(self.made)))
        self.ctx.notify()


class QuickSyncVM(BusyVM, vmsdk.StateSyncableVM):
    """Has synced before it has answered that it does."""

    def __init__(self, mode: StateSyncMode) -> None:
        super().__init__()
        self.mode = mode

    def state_sync_enabled(self) -> bool:
        return True

    def get_ongoing_sync_state_summary(self) -> vmsdk.StateSummary:
        raise vmsdk.NotFound

    get_last_state_summary = get_ongoing_sync_state_summary

    def get_state_summary(self, height: int) -> vmsdk.StateSummary:
        raise vmsdk.NotFound

    def parse_state_summary(self, data: bytes) -> vmsdk.StateSummary:
        return QuickSummary(self)


class QuickSummary(vmsdk.StateSummary):
    height = 1

    def __init__(self, vm: QuickSyncVM) -> None:
        self._vm = vm

    def accept(self) -> StateSyncMode:
        self._vm.ctx.state_sync_finished()
        return self._vm.mode


def wait(served: Served) -> grpc.Future[pb.WaitForEventResponse]:
    return served.client.WaitForEvent.start(Empty())


def build(served: Served) -> pb.BuildBlockResponse:
    return served.client.BuildBlock(pb.BuildBlockRequest())


# Asked for ----------------------------------------------------------------------------------------


def test_edge_55_a_cancelled_wait_ends_in_the_vm_and_the_next_is_answered(serve: Serve) -> None:
    vm = BusyVM()
    served = serve(vm)
    first = wait(served)
    with pytest.raises(grpc.FutureTimeoutError):
        first.result(QUIET_S)
    second = wait(served)
    first.cancel()
    vm.work()
    assert second.result(PATIENCE_S).message == pb.MESSAGE_BUILD_BLOCK


def test_edge_56_work_that_was_reported_and_dropped_is_reported_again(serve: Serve) -> None:
    vm = BusyVM()
    served = serve(vm)
    vm.work()
    for _ in range(3):
        assert wait(served).result(PATIENCE_S).message == pb.MESSAGE_BUILD_BLOCK


def test_a_thousand_cancelled_waits_starve_nobody(serve: Serve) -> None:
    served = serve(BusyVM())
    for _ in range(1_000):
        wait(served).cancel()
    assert served.client.Health(Empty()).details


def told_of_work(waits: list[Any]) -> threading.Event:
    """Set when one of the *waits* returns the event. Which, depends on the order of arrival."""
    told = threading.Event()

    def look(call: Any) -> None:
        if call.code() is grpc.StatusCode.OK and call.result().message == pb.MESSAGE_BUILD_BLOCK:
            told.set()

    for each in waits:
        each.add_done_callback(look)
    return told


def test_more_waits_than_threads_starve_nobody(serve: Serve) -> None:
    vm = BusyVM()
    served = serve(vm)
    waits = [wait(served) for _ in range(4 * WAITS)]
    told = told_of_work(waits)
    assert served.client.Health(Empty()).details
    vm.work()
    assert told.wait(PATIENCE_S)


def test_an_own_wait_that_overlooks_cancellations_starves_nobody(serve: Serve) -> None:
    released = threading.Event()

    class Deaf(PlainVM):
        def wait_for_event(self, cancelled: threading.Event) -> vmsdk.Event | None:
            released.wait()
            return vmsdk.Event.BUILD_BLOCK

    served = serve(Deaf())
    told = told_of_work([wait(served) for _ in range(4 * WAITS)])
    try:
        assert served.client.Health(Empty()).details
    finally:
        released.set()
    assert told.wait(PATIENCE_S)


def test_own_blocks_that_turn_out_invalid_do_not_spin(serve: Serve) -> None:
    vm = BusyVM()
    served = serve(vm)
    vm.has_pending_work = lambda: True  # type: ignore[method-assign]
    events, now_s = served.session.events, 1_000.0
    events._clock = lambda: now_s
    for number in range(4):
        vm.to_build.append(vm.child(b"bad%d" % number, invalid="never"))
        assert wait(served).result(PATIENCE_S).message == pb.MESSAGE_BUILD_BLOCK
        block = build(served)
        refused(lambda: served.client.BlockVerify(pb.BlockVerifyRequest(bytes=block.bytes)))  # noqa: B023
        quiet_s = events._quiet_s()
        assert quiet_s == pytest.approx(FIRST_RETRY_S * 2**number)
        now_s += MAX_RETRY_S


def test_waits_end_at_shutdown(serve: Serve) -> None:
    served = serve(BusyVM())
    waiting = wait(served)
    served.client.Shutdown(Empty())
    with pytest.raises(grpc.RpcError) as caught:
        waiting.result(PATIENCE_S)
    # The wait may reach the server after the shutdown: calls of grpcio's own server have threads.
    is_late = caught.value.details() == "the chain is shut down"
    assert is_late or caught.value.code() is grpc.StatusCode.CANCELLED


def test_a_wait_before_initialize_is_refused(serve: Serve) -> None:
    served = serve(BusyVM(), run=False)
    assert "not initialised" in refused(lambda: served.client.WaitForEvent(Empty()))[1]


def test_an_engine_call_that_notifies_does_not_block_itself(serve: Serve) -> None:
    vm = BusyVM()
    served = serve(vm)
    waiting = wait(served)
    vm.set_preference = lambda block_id: vm.work()  # type: ignore[method-assign]
    served.client.SetPreference(pb.SetPreferenceRequest(id=vm.genesis.id))
    assert waiting.result(PATIENCE_S).message == pb.MESSAGE_BUILD_BLOCK


def test_edge_68_the_end_of_state_sync_is_reported_until_the_next_state(serve: Serve) -> None:
    vm = BusyVM()
    served = serve(vm, run=False)
    served.initialize()
    served.set_state(State.STATE_SYNCING)
    waiting = wait(served)
    threading.Thread(target=vm.ctx.state_sync_finished).start()
    assert waiting.result(PATIENCE_S).message == pb.MESSAGE_STATE_SYNC_FINISHED
    assert wait(served).result(PATIENCE_S).message == pb.MESSAGE_STATE_SYNC_FINISHED
    served.set_state(State.BOOTSTRAPPING)
    with pytest.raises(grpc.FutureTimeoutError):
        wait(served).result(QUIET_S)


def test_a_dynamic_sync_that_ends_while_its_summary_is_accepted_is_reported_after_the_next_state(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmsdk.rpc.eventsource.LOST_S", -1)
    served = serve(QuickSyncVM(StateSyncMode.DYNAMIC), run=False)
    served.initialize()
    served.set_state(State.STATE_SYNCING)
    dropped = wait(served)
    served.client.StateSummaryAccept(pb.StateSummaryAcceptRequest(bytes=b"summary"))
    # The node drops it, since the change of the state is news, too, and asks again.
    assert dropped.result(PATIENCE_S).message == pb.MESSAGE_STATE_SYNC_FINISHED
    served.set_state(State.BOOTSTRAPPING)
    assert wait(served).result(PATIENCE_S).message == pb.MESSAGE_STATE_SYNC_FINISHED
    served.set_state(State.NORMAL_OP)
    with pytest.raises(grpc.FutureTimeoutError):
        wait(served).result(QUIET_S)


@pytest.mark.parametrize("version", [35, 41])
def test_until_protocol_41_there_is_no_wait_for_event(serve: Serve, version: int) -> None:
    served = serve(BusyVM(), version)
    assert refused(lambda: served.client.WaitForEvent(Empty()))[0] is grpc.StatusCode.UNIMPLEMENTED


# Told ---------------------------------------------------------------------------------------------


def take(served: Served, timeout_s: float = PATIENCE_S) -> int | None:
    return served.services.events.take(timeout_s)


@pytest.mark.parametrize("version", [35, 41])
def test_until_protocol_41_work_is_reported_once_for_each_block(serve: Serve, version: int) -> None:
    vm = BusyVM()
    served = serve(vm, version)
    for _ in range(5):
        vm.work()
        assert take(served) == pb.MESSAGE_BUILD_BLOCK
        block = build(served)
        served.client.BlockVerify(pb.BlockVerifyRequest(bytes=block.bytes))
        served.client.BlockAccept(pb.BlockAcceptRequest(id=block.id))
    assert take(served, QUIET_S) is None


def test_edge_58_a_full_queue_loses_nothing(serve: Serve) -> None:
    vm = BusyVM()
    served = serve(vm, 41)
    served.services.events.offer(99)
    refused_once = threading.Event()
    messenger = served.session.node.messenger  # type: ignore[union-attr]
    notify = messenger.notify  # type: ignore[union-attr]

    def watched(event: vmsdk.Event) -> bool:
        queued = notify(event)
        if not queued:
            refused_once.set()
        return queued

    messenger.notify = watched  # type: ignore[method-assign, union-attr]
    vm.work()
    assert refused_once.wait(PATIENCE_S)
    assert take(served) == 99
    assert take(served) == pb.MESSAGE_BUILD_BLOCK


def test_work_on_which_the_node_does_not_act_is_reported_again(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmsdk.rpc.events.RESEND_S", 0.01)
    vm = BusyVM()
    served = serve(vm, 41)
    vm.work()
    for _ in range(2):
        assert take(served) == pb.MESSAGE_BUILD_BLOCK


def test_work_that_is_left_after_a_block_is_reported_again(serve: Serve) -> None:
    vm = BusyVM()
    served = serve(vm, 41)
    vm.to_build.append(vm.child(b"one"))
    vm.to_build.append(vm.child(b"two"))
    vm.ctx.notify()
    for _ in range(2):
        assert take(served) == pb.MESSAGE_BUILD_BLOCK
        block = build(served)
        served.client.BlockVerify(pb.BlockVerifyRequest(bytes=block.bytes))
    assert take(served, QUIET_S) is None


def test_the_end_of_state_sync_is_reported_to_old_nodes_too(serve: Serve) -> None:
    vm = BusyVM()
    served = serve(vm, 40, run=False)
    served.initialize()
    served.set_state(State.STATE_SYNCING)
    vm.ctx.state_sync_finished()
    assert take(served) == pb.MESSAGE_STATE_SYNC_FINISHED
    served.set_state(State.BOOTSTRAPPING)
    assert take(served, QUIET_S) is None


@pytest.mark.parametrize("mode", [StateSyncMode.STATIC, StateSyncMode.DYNAMIC])
def test_a_sync_that_ends_while_its_summary_is_accepted_is_reported_once_to_old_nodes(
    serve: Serve, mode: StateSyncMode
) -> None:
    served = serve(QuickSyncVM(mode), 41, run=False)
    served.initialize()
    served.set_state(State.STATE_SYNCING)
    served.client.StateSummaryAccept(pb.StateSummaryAcceptRequest(bytes=b"summary"))
    assert take(served) == pb.MESSAGE_STATE_SYNC_FINISHED
    for state in (State.BOOTSTRAPPING, State.NORMAL_OP):
        served.set_state(state)
        assert take(served, QUIET_S) is None


def test_the_end_of_a_dynamic_sync_survives_a_full_queue_and_holds_no_work_up(serve: Serve) -> None:
    vm = BusyVM()
    served = serve(vm, 41)
    served.services.events.offer(99)
    vm.ctx.state_sync_finished()
    assert take(served) == 99
    assert take(served) == pb.MESSAGE_STATE_SYNC_FINISHED
    vm.work()
    assert take(served) == pb.MESSAGE_BUILD_BLOCK


def test_an_author_who_exits_does_not_end_the_telling(serve: Serve) -> None:
    class Exiting(PlainVM):
        asked_to_tell = 0

        def wait_for_event(self, cancelled: threading.Event) -> vmsdk.Event | None:
            self.asked_to_tell += 1
            if self.asked_to_tell == 1:
                raise SystemExit("not now")
            if self.asked_to_tell == 2:
                return vmsdk.Event.BUILD_BLOCK
            cancelled.wait()
            return None

    assert take(serve(Exiting(), 41)) == pb.MESSAGE_BUILD_BLOCK


def test_an_author_may_tell_old_nodes_in_a_way_of_their_own(serve: Serve) -> None:
    class Own(PlainVM):
        told = False

        def wait_for_event(self, cancelled: threading.Event) -> vmsdk.Event | None:
            if self.told:
                cancelled.wait()
                return None
            self.told = True
            return vmsdk.Event.BUILD_BLOCK

    assert take(serve(Own(), 41)) == pb.MESSAGE_BUILD_BLOCK
