"""Events: how a VM reports that it has work."""

from __future__ import annotations

import time
from contextlib import ExitStack

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.errors import CallFailed
from vmsdk.host.node import Host
from vmsdk.state import Event
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import FROM_42, NOTIFIER, Severity, Skipped, Violation, contract
from vmsdk.testing.wire import PROMPT_S, attempt, call, events_ended, wait_for_event

_CANCELLATIONS = 1000
# How long a VM without work must report nothing.
_QUIET_S = 1.0
_GRACE_S = 0.1
# Some VMs return from a wait without work after a second.
_IDLE_S = 2.0
_ENDLESS_BLOCKS = 20
# A VM may build a block each second, even without transactions.
_TICK_S = 0.8


def _check_reported(host: Host, sent: str, cure: str) -> None:
    message = wait_for_event(host)
    if message is None:
        raise Violation(
            "the VM does not report work that it has",
            sent=sent,
            got=f"nothing for {PROMPT_S:.0f} s",
            node="it builds no block until something else happens",
            cure=cure,
        )
    if message != pb.MESSAGE_BUILD_BLOCK:
        raise Violation(
            "WaitForEvent returns an unknown event",
            sent=sent,
            got=f"message {message}",
            node="it ignores the event, and builds no block",
            cure=f"return {pb.MESSAGE_BUILD_BLOCK} (MESSAGE_BUILD_BLOCK) for work",
        )


@contract("events", severity=Severity.STOPS, source=NOTIFIER, protocols=FROM_42, needs_blocks=True)
def work_is_reported_until_it_is_done(bench: Bench) -> None:
    """WaitForEvent returns BUILD_BLOCK while there is work, even if it did so before."""
    with bench.chain() as host:
        bench.submit(host)  # Before `events_ended`, since a VM may report work of its own.
        with events_ended(host):
            for sent in ("WaitForEvent while there is work", "WaitForEvent again, before a block was built"):
                _check_reported(host, sent, "check for pending work at each call: a node may drop an event")


@contract("events", severity=Severity.STOPS, source=NOTIFIER, needs_blocks=True)
def work_is_reported_after_a_block(bench: Bench) -> None:
    """Work that arrives while a block is processing is reported after that block is accepted."""
    with bench.chain() as host:
        block = bench.build(host)
        host.chain.verify(block)
        with ExitStack() as resources:
            if host.config.protocol.waits_for_events:
                resources.enter_context(events_ended(host))  # A node may drop events from before the block.
            bench.submit(host)
            host.chain.prefer(block.id)
            host.chain.accept(block)
            if host.config.protocol.waits_for_events:
                _check_reported(
                    host,
                    "a transaction while a block was processing, BlockAccept, and WaitForEvent",
                    "check for pending work at each call, even after a block",
                )
        host.chain.verify(bench.build_next(host))


@contract("events", severity=Severity.BETTER_NOT, source=NOTIFIER, needs_blocks=True)
def no_work_is_not_reported(bench: Bench) -> None:
    """Without work there is no event, and no work remains after the last transaction."""
    with bench.alone() as host:
        if bench.hook is None:
            raise Skipped("the VM builds blocks by itself")
        attempt(host, "BuildBlock", pb.BuildBlockRequest())  # What fails must not count as work.
        _drain(host)
        bench.grow(host, 1)
        _drain(host)


def _drain(host: Host) -> None:
    """Build blocks until no more work is reported. Raises `Violation` if that never ends."""
    began_s = time.monotonic()
    for _ in range(_ENDLESS_BLOCKS):
        if _is_quiet(host):
            return
        try:
            host.chain.produce()
        except CallFailed as error:
            # An event up to protocol 41 may be older than the last block.
            if _is_quiet(host):
                return
            raise Violation(
                "the VM reports work but builds no block",
                sent="WaitForEvent, then BuildBlock",
                got=f"BUILD_BLOCK, then {error}",
                node="it asks again immediately, forever",
                cure="report work only while BuildBlock would build a block",
            ) from None
    if time.monotonic() - began_s > _ENDLESS_BLOCKS * _TICK_S:
        return  # It builds on a timer.
    raise Violation(
        "the VM's work never ends",
        sent=f"{_ENDLESS_BLOCKS} times BuildBlock, without a transaction",
        got="BUILD_BLOCK each time",
        node="it builds blocks as fast as it can, and fills its disk",
        cure="remove from the pending work what an accepted block contains",
    )


def _is_quiet(host: Host) -> bool:
    """Whether the VM reports no work, given the time to."""
    if host.chain.next_event(_QUIET_S) is Event.BUILD_BLOCK:
        return False
    # On a busy machine the VM may not have run meanwhile: it has when this returns.
    call(host, "Version", Empty())
    return host.chain.next_event(_GRACE_S) is not Event.BUILD_BLOCK


@contract("events", severity=Severity.BETTER_NOT, source=NOTIFIER, protocols=FROM_42, needs_blocks=True)
def wait_lasts_until_there_is_work(bench: Bench) -> None:
    """WaitForEvent returns only while there is work, so not again after the last block."""
    with bench.chain() as host:
        if bench.hook is None:
            raise Skipped("the VM builds blocks by itself")
        _drain(host)
        with events_ended(host):
            _check_waiting(host, _IDLE_S, "before there is a transaction")
            bench.submit(host)
            _check_reported(
                host, "WaitForEvent while there is work", "return BUILD_BLOCK while there is work"
            )
            host.chain.produce()
            _check_waiting(host, _QUIET_S, "after the block with the only transaction")


def _check_waiting(host: Host, timeout_s: float, when: str) -> None:
    try:
        message = wait_for_event(host, timeout_s)
    except CallFailed as error:
        message, got = None, str(error)
    else:
        if message is None:
            return
        got = f"message {message}"
    if message == pb.MESSAGE_BUILD_BLOCK and attempt(host, "BuildBlock", pb.BuildBlockRequest()) is not None:
        return  # The VM has found work of its own.
    raise Violation(
        "WaitForEvent returns although there is no work",
        sent=f"WaitForEvent {when}",
        got=got,
        node="it asks again after 0.1 s if the call failed, else it tries to build a block",
        cure="wait until there is work or the call is cancelled",
    )


@contract("events", severity=Severity.STOPS, source=NOTIFIER, protocols=FROM_42)
def cancelled_waits_do_no_harm(bench: Bench) -> None:
    """A node cancels WaitForEvent at each change: a thousand times without harm."""
    with bench.chain() as host, events_ended(host):
        for _ in range(_CANCELLATIONS // 2):
            _cancel_waits(host, 2)  # The next call may arrive before the cancellation of the last.
        bench.alive(host)


def _cancel_waits(host: Host, count: int) -> None:
    """Start *count* calls of WaitForEvent, and cancel them once they have arrived."""
    waits = [host.client.WaitForEvent.start(Empty()) for _ in range(count)]
    host.client.Version(Empty())  # When this returns, the calls before it have arrived.
    for wait in waits:
        wait.cancel()


@contract("events", severity=Severity.STOPS, source=NOTIFIER, protocols=FROM_42, needs_blocks=True)
def cancelled_wait_takes_no_event(bench: Bench) -> None:
    """Work is reported to the call that waits, not to one that was cancelled."""
    with bench.chain() as host:
        if bench.hook is None:
            raise Skipped("the VM builds blocks by itself")
        bench.grow(host, 1)
        _drain(host)
        with events_ended(host):
            for _ in range(20):
                _cancel_waits(host, 1)
            bench.submit(host)
            _check_reported(
                host,
                "20 cancelled calls of WaitForEvent, a transaction, and another call",
                "end a cancelled call without taking the event from the others",
            )
