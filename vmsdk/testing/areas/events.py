"""Events: how a VM reports that a block should be built."""

from __future__ import annotations

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.engine import call_failed
from vmsdk.host.errors import CallFailed
from vmsdk.host.node import Host
from vmsdk.state import Event
from vmsdk.testing.bench import EVENT_TIMEOUT_S, Bench
from vmsdk.testing.contract import Severity, Skipped, Violation, contract
from vmsdk.testing.wire import attempt

NOTIFIER = "snow/engine/common/notifier.go"
# The first protocol whose nodes call WaitForEvent.
WAITS = range(42, 1000)
CANCELLATIONS = 1000
# A VM without work is watched this long.
QUIET_S = 0.3
ENDLESS_BLOCKS = 20


def _wait(host: Host, timeout_s: float = EVENT_TIMEOUT_S) -> int | None:
    """Call WaitForEvent; None if nothing is reported."""
    try:
        return host.client.WaitForEvent.start(Empty(), timeout_s).result().message
    except grpc.RpcError as error:
        failure = call_failed("WaitForEvent", error)
        if failure.code == grpc.StatusCode.DEADLINE_EXCEEDED.name:
            return None
        raise failure from None


def _check_reported(host: Host, sent: str, cure: str) -> None:
    message = _wait(host)
    if message is None:
        raise Violation(
            "the VM does not report work that it has",
            sent=sent,
            got=f"nothing for {EVENT_TIMEOUT_S:.0f} s",
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


@contract("events", severity=Severity.STOPS, source=NOTIFIER, protocols=WAITS, needs_blocks=True)
def work_is_reported_until_it_is_done(bench: Bench) -> None:
    """WaitForEvent returns BUILD_BLOCK while there is work, also if it did so before."""
    with bench.start() as host:
        bench.submit(host)
        host.chain.end_events()
        for sent in ("WaitForEvent while there is work", "WaitForEvent again, before a block was built"):
            _check_reported(host, sent, "look at the pending work at each call: a node may drop an event")


@contract("events", severity=Severity.STOPS, source=NOTIFIER, needs_blocks=True)
def work_is_reported_after_a_block(bench: Bench) -> None:
    """Work that arrives while a block is processing is reported after that block is accepted."""
    with bench.chain() as host:
        block = bench.build(host)
        host.chain.verify(block)
        bench.submit(host)
        host.chain.prefer(block.id)
        host.chain.accept(block)
        host.chain.verify(bench.build_next(host))


@contract("events", severity=Severity.BETTER_NOT, source=NOTIFIER, needs_blocks=True)
def no_work_is_not_reported(bench: Bench) -> None:
    """Without work there is no event, and the work ends with the last transaction."""
    with bench.start() as host:
        if bench.hook is None:
            raise Skipped("the VM builds blocks by itself")
        attempt(host, "BuildBlock", pb.BuildBlockRequest())  # What fails must not count as work.
        _drain(host)
        bench.grow(host, 1)
        _drain(host)


def _drain(host: Host) -> None:
    """Build blocks until no more work is reported. Raises `Violation` if that never ends."""
    for _ in range(ENDLESS_BLOCKS):
        if host.chain.next_event(QUIET_S) is not Event.BUILD_BLOCK:
            return
        try:
            host.chain.produce()
        except CallFailed as error:
            # An event up to protocol 41 may be older than the last block.
            if host.chain.next_event(QUIET_S) is not Event.BUILD_BLOCK:
                return
            raise Violation(
                "the VM reports work but builds no block",
                sent="WaitForEvent, then BuildBlock",
                got=f"BUILD_BLOCK, then {error}",
                node="it asks again at once, forever",
                cure="report work only while BuildBlock would build a block",
            ) from None
    raise Violation(
        "the VM's work never ends",
        sent=f"{ENDLESS_BLOCKS} times BuildBlock, without a transaction",
        got="BUILD_BLOCK each time",
        node="it builds blocks as fast as it can, and fills its disk",
        cure="remove from the pending work what an accepted block contains",
    )


@contract("events", severity=Severity.STOPS, source=NOTIFIER, protocols=WAITS)
def cancelled_waits_do_no_harm(bench: Bench) -> None:
    """A node cancels WaitForEvent at each change: a thousand times without harm."""
    with bench.start() as host:
        host.chain.end_events()
        for _ in range(CANCELLATIONS // 2):
            # The next call may arrive before the cancellation of the last.
            waits = [host.client.WaitForEvent.start(Empty()) for _ in range(2)]
            host.client.Version(Empty())  # By its response, both have arrived.
            for wait in waits:
                wait.cancel()
        bench.alive(host)


@contract("events", severity=Severity.STOPS, source=NOTIFIER, protocols=WAITS, needs_blocks=True)
def cancelled_wait_takes_no_event(bench: Bench) -> None:
    """Work is reported to the call that waits, not to one that was cancelled."""
    with bench.start() as host:
        bench.grow(host, 1)
        host.chain.end_events()
        for _ in range(20):
            wait = host.client.WaitForEvent.start(Empty())
            host.client.Version(Empty())
            wait.cancel()
        if bench.hook is None:
            raise Skipped("the VM builds blocks by itself")
        bench.submit(host)
        _check_reported(
            host,
            "20 cancelled calls of WaitForEvent, a transaction, and another call",
            "end a cancelled call without taking the event from the others",
        )
