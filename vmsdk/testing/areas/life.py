"""The life of a plugin: start, health, signals, exit."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.errors import CallFailed, ChainFatal, HostError, PluginGone, ending
from vmsdk.host.plugin import GRACEFUL_STOP_TIMEOUT_S
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import ROUTER, STOPPER, VM_CLIENT, VM_GO, VM_SERVER, Severity, Violation, contract
from vmsdk.testing.wire import (
    DEEP,
    PROMPT_S,
    SHUTDOWN_TIMEOUT_S,
    accept,
    call,
    check_calls_after_shutdown,
    gossip,
    must_return,
    must_succeed,
    storage,
)

# How long to wait for an exit that must not happen.
_QUIET_S = 0.3
_BUILD_TIMEOUT_S = 3.0
_HELD_CALLS = 16
_GARBAGE = b'\xff{"vmsdk check": \0'
# JSON, but not an object.
_ODD_JSON = (b"null", DEEP)


# Start and exit -----------------------------------------------------------------------------------


@contract("life", severity=Severity.STOPS, source=VM_GO)
def reaches_normal_operation(bench: Bench) -> None:
    """A new chain is initialised, bootstraps and goes to normal operation."""
    with bench.chain() as host:
        bench.alive(host)


@contract("life", severity=Severity.STOPS, source="vms/rpcchainvm/factory.go")
def registers(bench: Bench) -> None:
    """A node first starts each plugin only for its version: Version, Shutdown, no Initialize."""
    with bench.connected() as host:
        with (
            suppress(PluginGone),  # It may exit by itself once it has shut down.
            must_succeed(
                "Version and Shutdown fail before Initialize",
                sent="the handshake, then Version and Shutdown",
                node="it logs that the VM could not be registered, or waits for Version forever",
                cure="let Version and Shutdown work without Initialize",
            ),
        ):
            for method in ("Version", "Shutdown"):
                call(host, method, Empty(), PROMPT_S)
        exit_code = host.process.stop()
    _check_not_killed(exit_code, "handshake, Version, Shutdown, SIGTERM")


@contract("life", severity=Severity.STOPS, source=VM_GO)
def ignores_sigterm_before_shutdown(bench: Bench) -> None:
    """SIGTERM reaches the node's whole process group; a plugin waits for Shutdown."""
    _ignores(bench, signal.SIGTERM)


@contract("life", severity=Severity.STOPS, source=VM_GO)
def ignores_sigint_before_shutdown(bench: Bench) -> None:
    """Ctrl-C reaches the node's whole process group; a plugin waits for Shutdown."""
    _ignores(bench, signal.SIGINT)


def _ignores(bench: Bench, number: signal.Signals) -> None:
    with bench.chain() as host:
        host.process.send_signal(number)
        exit_code = host.process.wait(_QUIET_S)
        if exit_code is not None:
            raise Violation(
                f"the plugin exits on {number.name} before Shutdown",
                sent=f"{number.name} in normal operation",
                got=f"the process ended{ending(exit_code)}",
                node="it stops the chain: the VM can no longer save anything in Shutdown",
                cure=f"ignore {number.name} until Shutdown has been called",
            )
        bench.alive(host)


@contract("life", severity=Severity.STOPS, source=VM_GO, needs_blocks=True)
def builds_after_signals(bench: Bench) -> None:
    """SIGTERM or Ctrl-C while a block is built does not stop a plugin before Shutdown."""
    with bench.chain() as host:
        bench.submit(host)
        bench.await_work(host)
        building = host.client.BuildBlock.start(pb.BuildBlockRequest(), PROMPT_S)
        for number in (signal.SIGTERM, signal.SIGINT):
            host.process.send_signal(number)
        host.process.wait(_QUIET_S)  # The VM may notice a little later.
        building.exception()  # This call may fail, but not the next one.
        bench.submit(host)  # The VM may have dropped the first transaction with its block.
        accept(host, bench.build_next(host, _BUILD_TIMEOUT_S))


@contract("life", severity=Severity.MISBEHAVES, source=STOPPER)
def ends_on_sigterm_after_shutdown(bench: Bench) -> None:
    """After Shutdown the node sends SIGTERM, and SIGKILL 5 s later."""
    with bench.start() as host:
        pass
    _check_not_killed(host.process.exit_code, "Shutdown, then SIGTERM")


def _check_not_killed(exit_code: int | None, sent: str) -> None:
    if exit_code == -signal.SIGKILL:
        raise Violation(
            "the plugin does not exit after Shutdown",
            sent=sent,
            got=f"the process still ran after {GRACEFUL_STOP_TIMEOUT_S:.0f} s",
            node="it kills the process, so it takes 5 s longer to stop",
            cure="exit on SIGTERM once Shutdown has been called",
        )


@contract("life", severity=Severity.MISBEHAVES, source=ROUTER)
def shuts_down_with_calls_under_way(bench: Bench) -> None:
    """Shutdown ends the calls under way instead of waiting for them."""
    with bench.alone() as host:
        held: list[grpc.Future[Any]] = []
        if host.config.protocol.waits_for_events:
            host.chain.end_events()
            held = [host.client.WaitForEvent.start(Empty()) for _ in range(_HELD_CALLS)]
        others = [host.client.GetBlock.start(pb.GetBlockRequest(id=os.urandom(32))) for _ in range(64)]
        with (
            suppress(PluginGone),
            must_return(
                "Shutdown does not return while other calls are running",
                sent=f"{len(held)} WaitForEvent and 64 GetBlock, then Shutdown",
                node="it gives all its chains together one minute, then exits without waiting for them",
                cure="end running calls in Shutdown instead of waiting for them",
                timeout_s=SHUTDOWN_TIMEOUT_S,
            ),
        ):
            call(host, "Shutdown", Empty(), SHUTDOWN_TIMEOUT_S)
        for each in (*held, *others):
            each.cancel()


@contract("life", severity=Severity.MISBEHAVES, source=STOPPER)
def starts_again_after_sigkill(bench: Bench) -> None:
    """A crash must leave nothing behind that keeps the VM from starting, such as a lock file."""
    with storage() as kept:
        with bench.alone(**kept) as host:
            last_accepted = host.chain.last_accepted.id
        with (
            must_succeed(
                "the plugin does not start again after SIGKILL",
                sent="SIGKILL in normal operation, then a start with the same database and data folder",
                node="the chain does not start until somebody removes what was left behind",
                cure="use locks that end with the process, such as flock",
                errors=HostError,
            ),
            bench.alone(**kept) as host,
        ):
            again = host.chain.last_accepted.id
    if again != last_accepted:
        raise Violation(
            "another last accepted block after SIGKILL",
            sent="SIGKILL in normal operation, then a start with the same database",
            got=f"{again} instead of {last_accepted}",
            node="the chain continues from a block that the network may not have",
            cure="write the last accepted block in the batch of its acceptance",
        )


@contract("life", severity=Severity.BETTER_NOT, source=VM_SERVER)
def survives_a_bad_initialize(bench: Bench) -> None:
    """An Initialize that can't succeed is an error of the call, not the end of the process."""
    sent = "Initialize with a subnet_id of 31 bytes and nothing else"
    with bench.connected() as host:
        try:
            call(host, "Initialize", pb.InitializeRequest(subnet_id=bytes(31)), PROMPT_S)
        except CallFailed:
            pass
        except PluginGone as error:
            raise _died(sent, error) from None
        else:
            raise Violation(
                "Initialize succeeds with a subnet ID of 31 bytes",
                sent=sent,
                got="the status OK",
                node="it never sends this; a VM that accepts it won't notice a garbled request",
                cure="check that IDs have 32 bytes, and node IDs 20",
            )
        exit_code = host.process.wait(_QUIET_S)
    if exit_code is not None:
        raise _died(sent, PluginGone("Initialize", exit_code))


@contract("life", severity=Severity.BETTER_NOT, source=VM_SERVER)
def survives_a_bad_configuration(bench: Bench) -> None:
    """A genesis, configuration or upgrade that can't be read does not end the process."""
    bad = {"genesis": (b"", _GARBAGE), "config": (*_ODD_JSON, _GARBAGE), "upgrade": (_GARBAGE,)}
    for field, value in ((field, value) for field, values in bad.items() for value in values):
        with bench.connected(**{field: value}) as host:
            try:
                host.chain.initialize()
            except ChainFatal as error:
                if isinstance(error.cause, PluginGone):
                    raise _died(f"Initialize with the {field} {value[:20]!r}", error.cause) from None
            bench.alive(host)


def _died(sent: str, error: PluginGone) -> Violation:
    return Violation(
        "the process exits because a call fails",
        sent=sent,
        got=str(error),
        node="it sees a broken connection instead of the error's text",
        cure="return the error from the call, and keep serving",
    )


# Health and version -------------------------------------------------------------------------------


@contract("life", severity=Severity.MISBEHAVES, source=VM_CLIENT)
def health_is_json(bench: Bench) -> None:
    """The node puts the health details into its own JSON response."""
    with bench.chain() as host:
        try:
            host.chain.health()
        except CallFailed as error:
            raise Violation(
                "the VM is unhealthy from the start, or its health details are not JSON",
                sent="Health in normal operation",
                got=error.details,
                node="its health API fails, or reports the chain as unhealthy",
                cure='return {"database": …, "health": …} as JSON; an error only if the VM is unhealthy',
            ) from None


@contract("life", severity=Severity.MISBEHAVES, source=VM_SERVER)
def calls_after_shutdown_return(bench: Bench) -> None:
    """A call after Shutdown may fail, but must not hang."""
    calls: tuple[tuple[str, Message], ...] = (
        *((method, Empty()) for method in ("Health", "Version", "Shutdown", "Gather")),
        ("BuildBlock", pb.BuildBlockRequest()),
        gossip(b"late"),
        ("GetBlock", pb.GetBlockRequest(id=bytes(32))),
    )
    with bench.alone() as host:
        check_calls_after_shutdown(host, calls)
