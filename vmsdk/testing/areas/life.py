"""The life of a plugin: its start, its health, signals, and its end."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.client import VMClient
from vmsdk.host.engine import call_failed
from vmsdk.host.errors import CallFailed, ChainFatal, ClientClosed, HostError, PluginGone, ending
from vmsdk.host.plugin import GRACEFUL_STOP_TIMEOUT_S
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import Severity, Violation, contract
from vmsdk.testing.wire import PROMPT_S, call, returns

_VM = "vms/rpcchainvm/vm.go"
_STOPPER = "vms/rpcchainvm/runtime/subprocess/linux_stopper.go"
_FACTORY = "vms/rpcchainvm/factory.go"

# How long to wait for an end that must not come.
_QUIET_S = 0.3
_REFUSES_S = 3.0
_SHUTDOWN_TIMEOUT_S = 10.0
_HELD_CALLS = 16
_GARBAGE = b'\xff{"vmsdk check": \0'
# JSON, but no object.
_ODD_JSON = (b"null", b"[" * 100_000)


# Start and end ------------------------------------------------------------------------------------


@contract("life", severity=Severity.STOPS, source=_VM)
def reaches_normal_operation(bench: Bench) -> None:
    """A new chain is initialised, bootstraps and goes to normal operation."""
    with bench.chain() as host:
        bench.alive(host)


@contract("life", severity=Severity.STOPS, source=_FACTORY)
def registers(bench: Bench) -> None:
    """A node first starts each plugin only for its version: Version, Shutdown, no Initialize."""
    with bench.process() as process:
        client = VMClient(process.address or "", wait=process.wait)
        try:
            client.Version(Empty(), PROMPT_S)
            client.Shutdown(Empty(), PROMPT_S)
        except grpc.RpcError as error:
            process.kill()
            failed = call_failed("a call", error)
            raise Violation(
                "Version and Shutdown fail before Initialize",
                sent="the handshake, then Version and Shutdown",
                got=f"{failed.code}: {failed.details}",
                node="it logs that the VM could not be registered, or waits for Version forever",
                cure="let Version and Shutdown work without Initialize",
            ) from None
        except PluginGone:
            pass  # It may end by itself once it has shut down.
        finally:
            client.close()
        exit_code = process.stop()
    _check_not_killed(exit_code, "handshake, Version, Shutdown, SIGTERM")


@contract("life", severity=Severity.STOPS, source=_VM)
def ignores_sigterm_before_shutdown(bench: Bench) -> None:
    """SIGTERM reaches the node's whole process group; a plugin waits for Shutdown."""
    _ignores(bench, signal.SIGTERM)


@contract("life", severity=Severity.STOPS, source=_VM)
def ignores_sigint_before_shutdown(bench: Bench) -> None:
    """Ctrl-C reaches the node's whole process group; a plugin waits for Shutdown."""
    _ignores(bench, signal.SIGINT)


def _ignores(bench: Bench, number: signal.Signals) -> None:
    with bench.chain() as host:
        host.process.send_signal(number)
        exit_code = host.process.wait(_QUIET_S)
        if exit_code is not None:
            raise Violation(
                f"{number.name} before Shutdown ended the plugin",
                sent=f"{number.name} in normal operation",
                got=f"the process ended{ending(exit_code)}",
                node="it stops the chain: the VM can no longer save anything in Shutdown",
                cure=f"ignore {number.name} until Shutdown has been called",
            )
        bench.alive(host)


@contract("life", severity=Severity.STOPS, source=_VM, needs_blocks=True)
def builds_after_signals(bench: Bench) -> None:
    """SIGTERM or Ctrl-C while a block is built does not stop a plugin before Shutdown."""
    with bench.chain() as host:
        bench.submit(host)
        bench.await_work(host)
        building = host.client.BuildBlock.start(pb.BuildBlockRequest(), PROMPT_S)
        for number in (signal.SIGTERM, signal.SIGINT):
            host.process.send_signal(number)
        host.process.wait(_QUIET_S)  # The VM may notice a little later.
        building.exception()  # It may fail, but the next one may not.
        bench.submit(host)  # The VM may have forgotten what was in the block.
        block = bench.build_next(host, _REFUSES_S)
        host.chain.verify(block)
        host.chain.prefer(block.id)
        host.chain.accept(block)


@contract("life", severity=Severity.MISBEHAVES, source=_STOPPER)
def ends_on_sigterm_after_shutdown(bench: Bench) -> None:
    """After Shutdown the node sends SIGTERM, and SIGKILL 5 s later."""
    with bench.start() as host:
        pass
    _check_not_killed(host.process.exit_code, "Shutdown, then SIGTERM")


def _check_not_killed(exit_code: int | None, sent: str) -> None:
    if exit_code == -signal.SIGKILL:
        raise Violation(
            "the plugin does not end after Shutdown",
            sent=sent,
            got=f"the process still ran after {GRACEFUL_STOP_TIMEOUT_S:.0f} s",
            node="it kills the process, and so needs 5 s more to stop",
            cure="end on SIGTERM once Shutdown has been called",
        )


@contract("life", severity=Severity.MISBEHAVES, source="snow/networking/router/chain_router.go")
def shuts_down_with_calls_under_way(bench: Bench) -> None:
    """Shutdown ends the calls under way instead of waiting for them."""
    with bench.alone() as host:
        held: list[grpc.Future[Any]] = []
        if host.config.protocol.waits_for_events:
            host.chain.end_events()
            held = [host.client.WaitForEvent.start(Empty()) for _ in range(_HELD_CALLS)]
        others = [host.client.GetBlock.start(pb.GetBlockRequest(id=os.urandom(32))) for _ in range(64)]
        try:
            call(host, "Shutdown", Empty(), _SHUTDOWN_TIMEOUT_S)
        except CallFailed as error:
            if error.code == grpc.StatusCode.DEADLINE_EXCEEDED.name:
                raise Violation(
                    "Shutdown did not return while other calls were under way",
                    sent=f"{len(held)} WaitForEvent and 64 GetBlock, then Shutdown",
                    got=f"nothing for {_SHUTDOWN_TIMEOUT_S:.0f} s",
                    node="it gives all chains together one minute, then ends without them",
                    cure="end running calls in Shutdown instead of waiting for them",
                ) from None
        except PluginGone:
            pass
        for each in (*held, *others):
            each.cancel()


@contract("life", severity=Severity.MISBEHAVES, source=_STOPPER)
def starts_again_after_sigkill(bench: Bench) -> None:
    """A crash must leave nothing behind that keeps the VM from starting, such as a lock file."""
    with tempfile.TemporaryDirectory() as folder:
        database, data = Path(folder, "chain.sqlite"), Path(folder, "data")
        host = bench.start(database=database, chain_data_dir=data)
        host.start()
        last_accepted = host.chain.last_accepted.id
        host.kill()
        try:
            with bench.alone(database=database, chain_data_dir=data) as host:
                again = host.chain.last_accepted.id
        except HostError as error:
            raise Violation(
                "the plugin does not start again after SIGKILL",
                sent="SIGKILL in normal operation, then a start with the same database and data folder",
                got=str(error),
                node="the chain does not start until somebody removes what was left",
                cure="use locks that end with the process, such as flock",
            ) from None
    if again != last_accepted:
        raise Violation(
            "another last accepted block after SIGKILL",
            sent="SIGKILL in normal operation, then a start with the same database",
            got=f"{again} instead of {last_accepted}",
            node="the chain continues from a block that the network may not have",
            cure="write the last accepted block in the batch of its acceptance",
        )


@contract("life", severity=Severity.BETTER_NOT, source="vms/rpcchainvm/vm_server.go")
def survives_a_bad_initialize(bench: Bench) -> None:
    """An Initialize that can't succeed is an error of the call, not the end of the process."""
    with bench.announced() as process:
        client = VMClient(process.address or "", wait=process.wait)
        try:
            client.Initialize(pb.InitializeRequest(subnet_id=bytes(31)), PROMPT_S)
        except grpc.RpcError:
            pass
        except PluginGone as error:
            raise _died("an Initialize with a 31-byte subnet ID", error) from None
        else:
            raise Violation(
                "Initialize succeeds with a 31-byte subnet ID",
                sent="InitializeRequest with subnet_id of 31 bytes and nothing else",
                got="an OK response",
                node="it never sends this; a VM that accepts it won't notice a garbled request",
                cure="check that IDs have 32 bytes and node IDs 20",
            )
        finally:
            client.close()
        exit_code = process.wait(_QUIET_S)
    if exit_code is not None:
        raise _died("an Initialize with a 31-byte subnet ID", PluginGone("Initialize", exit_code))


@contract("life", severity=Severity.BETTER_NOT, source="vms/rpcchainvm/vm_server.go")
def survives_a_bad_configuration(bench: Bench) -> None:
    """A genesis, configuration or upgrade that can't be read does not end the process."""
    bad = [("genesis", b""), *(("config", each) for each in _ODD_JSON)]
    bad += [(field, _GARBAGE) for field in ("genesis", "config", "upgrade")]
    for field, value in bad:
        with bench.connected(**{field: value}) as host:
            try:
                host.chain.initialize()
            except ChainFatal as error:
                if isinstance(error.cause, PluginGone):
                    raise _died(f"Initialize with the {field} {value[:20]!r}", error.cause) from None
            bench.alive(host)


def _died(sent: str, error: PluginGone) -> Violation:
    return Violation(
        "the process ended because a call failed",
        sent=sent,
        got=str(error),
        node="it sees a broken connection instead of the error's text",
        cure="return the error from the call, and keep serving",
    )


# Health and version -------------------------------------------------------------------------------


@contract("life", severity=Severity.MISBEHAVES, source="vms/rpcchainvm/vm_client.go")
def health_is_json(bench: Bench) -> None:
    """The node puts the health details into its own JSON response."""
    with bench.chain() as host:
        try:
            host.chain.health()
        except CallFailed as error:
            raise Violation(
                "the VM is unhealthy at once, or its health details are not JSON",
                sent="Health in normal operation",
                got=error.details,
                node="its health API fails, or reports the chain as unhealthy",
                cure='return {"database": …, "health": …} as JSON; an error only if the VM is unhealthy',
            ) from None


@contract("life", severity=Severity.MISBEHAVES, source="vms/rpcchainvm/vm_server.go")
def calls_after_shutdown_return(bench: Bench) -> None:
    """A call after Shutdown may fail, but must not hang."""
    with bench.alone() as host:
        host.chain.end_events()
        try:
            call(host, "Shutdown", Empty(), _SHUTDOWN_TIMEOUT_S)
            for method, request in (
                ("Health", Empty()),
                ("Version", Empty()),
                ("Shutdown", Empty()),
                ("Gather", Empty()),
                ("BuildBlock", pb.BuildBlockRequest()),
                ("AppGossip", pb.AppGossipMsg(node_id=bytes(20), msg=b"late")),
                ("GetBlock", pb.GetBlockRequest(id=bytes(32))),
            ):
                returns(host, method, request)
        except (PluginGone, ClientClosed):
            pass  # A plugin may end by itself once it has shut down.
