"""Calls that come too early, too late, twice, or at the same time."""

from __future__ import annotations

import threading
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

import vmsdk
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.state import State

from .conftest import Serve, Served, refused
from .plainvm import PlainBlock, PlainVM

PATIENCE_S = 60.0


class Gate:
    """Holds an author's method up: *begun* once it was called, until *opened*."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.opened = threading.Event()

    def __call__(self, *_: object) -> None:
        self.begun.release()
        assert self.opened.wait(PATIENCE_S)

    def wait(self) -> None:
        assert self.begun.acquire(timeout=PATIENCE_S)


@pytest.fixture
def gate() -> Gate:
    return Gate()


def outcome(call: Any) -> str:
    """The text of a call's failure; empty for none."""
    error = call.exception(PATIENCE_S)
    return "" if error is None else error.details()


def initialize(served: Served) -> Any:
    return served.client.Initialize.start(served.request())


def test_of_two_initializes_at_once_one_is_taken(serve: Serve, gate: Gate) -> None:
    vm = PlainVM(initialize=gate)
    served = serve(vm, run=False)
    both = [initialize(served), initialize(served)]
    gate.wait()
    gate.opened.set()
    texts = sorted(outcome(each) for each in both)
    assert texts[0] == ""
    assert "called before" in texts[1]
    assert not gate.begun.acquire(blocking=False)


def test_while_initialize_runs_everything_outside_the_chain_is_answered(serve: Serve, gate: Gate) -> None:
    served = serve(PlainVM(initialize=gate), run=False)
    starting = initialize(served)
    gate.wait()
    assert served.client.Version(Empty()).version == "0.0.1-plain"
    assert not served.client.Gather(Empty()).metric_families
    served.client.AppGossip(pb.AppGossipMsg(node_id=bytes(20)))
    assert "not initialised" in refused(lambda: served.client.WaitForEvent(Empty()))[1]
    assert served.client.check_health() == 1
    gate.opened.set()
    assert outcome(starting) == ""


def test_an_engine_call_during_initialize_is_answered_after_it(serve: Serve, gate: Gate) -> None:
    vm = PlainVM(initialize=gate)
    served = serve(vm, run=False)
    starting = initialize(served)
    gate.wait()
    asking = served.client.GetBlock.start(pb.GetBlockRequest(id=vm.genesis.id))
    gate.opened.set()
    assert outcome(starting) == ""
    assert asking.result(PATIENCE_S).bytes == vm.genesis.raw


def test_a_shutdown_during_initialize_ends_the_chain_that_it_made(serve: Serve, gate: Gate) -> None:
    vm = PlainVM(initialize=gate)
    served = serve(vm, run=False)
    starting = initialize(served)
    gate.wait()
    ending = served.client.Shutdown.start(Empty())
    assert served.session.shutdown_begun.wait(PATIENCE_S)
    gate.opened.set()
    assert (outcome(starting), outcome(ending)) == ("", "")
    assert vm.asked == ["get_block", "shutdown"]
    assert "called before" in refused(served.initialize)[1]


def test_of_two_shutdowns_at_once_both_are_answered_when_all_has_ended(serve: Serve, gate: Gate) -> None:
    vm = PlainVM(shutdown=gate)
    served = serve(vm)
    both = [served.client.Shutdown.start(Empty()) for _ in range(2)]
    gate.wait()
    assert not any(each.done() for each in both)
    gate.opened.set()
    assert [outcome(each) for each in both] == ["", ""]
    assert not gate.begun.acquire(blocking=False)


def test_calls_that_wait_for_the_lock_find_the_chain_shut_down(serve: Serve, gate: Gate) -> None:
    vm = PlainVM(shutdown=gate)
    served = serve(vm)
    waiting = served.client.WaitForEvent.start(Empty())
    ending = served.client.Shutdown.start(Empty())
    gate.wait()
    late: dict[str, Any] = {
        name: getattr(served.client, name).start(request)
        for name, request in {
            "ParseBlock": pb.ParseBlockRequest(bytes=b"x"),
            "SetState": pb.SetStateRequest(state=pb.STATE_NORMAL_OP),
            "Health": Empty(),
            "GetAncestors": pb.GetAncestorsRequest(blk_id=bytes(32)),
        }.items()
    }
    vm.ctx.notify()
    gate.opened.set()
    assert outcome(ending) == ""
    assert {outcome(each) for each in late.values()} == {"the chain is shut down"}
    # The two calls were sent at once, and a server may begin with either.
    assert outcome(waiting) in ("the wait was cancelled", "the chain is shut down")
    assert served.session.faults.counts() == {}


def test_authors_may_notify_at_any_time_from_any_thread(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm, run=False)
    stop = threading.Event()
    failures: list[BaseException] = []

    def hammer() -> None:
        try:
            while not stop.is_set():
                vm.ctx.notify()
                vm.ctx.state_sync_finished()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test wants it
            failures.append(error)

    def begin(ctx: vmsdk.Context, *_: bytes) -> None:
        vm.ctx = ctx
        for thread in threads:
            thread.start()

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    vm.initialize = begin  # type: ignore[method-assign, assignment]
    try:
        served.initialize()
        for state in State:
            served.set_state(state)
        served.client.Shutdown(Empty())
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []


def test_a_block_is_found_without_the_lock_while_it_is_being_accepted(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    block = vm.child(b"one")
    found: list[vmsdk.Block] = []

    def look() -> None:
        thread = threading.Thread(target=lambda: found.append(vm.ctx.get_block(block.id)))
        thread.start()
        thread.join(PATIENCE_S)

    def accept() -> None:
        look()  # it is in no store yet
        PlainBlock.accept(block)
        look()

    block.accept = accept  # type: ignore[method-assign]
    served.client.BlockVerify(pb.BlockVerifyRequest(bytes=block.raw))
    served.client.BlockAccept(pb.BlockAcceptRequest(id=block.id))
    look()
    assert found == [block] * 3


def test_a_wait_that_is_given_up_while_an_engine_call_runs_keeps_no_other_from_its_event(
    serve: Serve, gate: Gate
) -> None:
    class Busy(PlainVM):
        def has_pending_work(self) -> bool:
            return True

    vm = Busy()
    served = serve(vm)
    vm.set_preference = gate  # type: ignore[method-assign, assignment]
    preferring = served.client.SetPreference.start(pb.SetPreferenceRequest(id=vm.genesis.id))
    gate.wait()
    given_up = [served.client.WaitForEvent.start(Empty()) for _ in range(50)]
    for each in given_up:
        each.cancel()
    kept = served.client.WaitForEvent.start(Empty())
    assert served.client.Version(Empty()).version == "0.0.1-plain"
    gate.opened.set()
    preferring.result(PATIENCE_S)
    assert kept.result(PATIENCE_S).message == pb.MESSAGE_BUILD_BLOCK


def test_a_caller_that_gives_up_does_not_stop_what_it_began(serve: Serve, gate: Gate) -> None:
    vm = PlainVM(set_preference=gate)
    served = serve(vm)
    call: grpc.Future[Empty] = served.client.SetPreference.start(pb.SetPreferenceRequest(id=vm.genesis.id))
    gate.wait()
    call.cancel()
    gate.opened.set()
    assert served.client.Health(Empty()).details
    assert served.session.faults.counts() == {}
