"""The life of the process: signals, its streams and files, its children, and its end."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.client import VMClient
from vmsdk.host.engine import call_failed
from vmsdk.host.errors import (
    CallFailed,
    ChainFatal,
    ClientClosed,
    EndedBeforeHandshake,
    HostError,
    PluginGone,
    ending,
)
from vmsdk.host.node import Host
from vmsdk.host.plugin import GRACEFUL_STOP_TIMEOUT_S, PluginProcess
from vmsdk.ids import ID
from vmsdk.testing.bench import HANDSHAKE_TIMEOUT_S, Bench
from vmsdk.testing.contract import Severity, Skipped, Violation, contract
from vmsdk.testing.wire import PROMPT_S, call, returns

_VM = "vms/rpcchainvm/vm.go"
_RUNTIME = "vms/rpcchainvm/runtime/subprocess/runtime.go"
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

# A node that is killed: it starts the plugin and prints its process ID.
_NODE = """
import json, sys
from vmsdk.host.node import Host
order = json.loads(sys.argv[1])
fields = {name: bytes.fromhex(order[name]) for name in ("genesis", "config", "upgrade")}
host = Host(
    order["command"],
    protocol=order["protocol"],
    log=lambda stream, line: None,
    handshake_timeout_s=order["handshake_timeout_s"],
    **fields,
)
host.start()
print(host.process.pid, flush=True)
sys.stdin.read()
"""


# The end ------------------------------------------------------------------------------------------


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


@contract("life", severity=Severity.MISBEHAVES, source=_RUNTIME)
def ends_with_the_node(bench: Bench) -> None:
    """A node that is killed can't stop its plugins; they must notice."""
    if not hasattr(os, "pidfd_open"):
        raise Skipped("only Linux can wait for a process that is not a child")
    order = {
        "command": bench.command,
        "protocol": bench.protocol,
        "handshake_timeout_s": HANDSHAKE_TIMEOUT_S,
        "genesis": bench.genesis.hex(),
        "config": bench.config.hex(),
        "upgrade": bench.upgrade.hex(),
    }
    node = subprocess.Popen(
        [sys.executable, "-c", _NODE, json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert node.stdin is not None
    assert node.stdout is not None
    with node.stdin, node.stdout:
        line = node.stdout.readline()
        if not line:
            raise Skipped("the plugin does not start: see the other checks")
        with ExitStack() as resources:
            watched = _watch([int(line)], resources)
            node.kill()
            node.wait()
            left = _await_ends(watched, PROMPT_S)
            for pid in left:
                os.kill(pid, signal.SIGKILL)
    if left:
        raise Violation(
            "the plugin keeps running after its node was killed",
            sent="SIGKILL to the node",
            got=f"the plugin still ran after {PROMPT_S:.0f} s",
            node="the next node can't open what the old plugin still holds",
            cure="end when the parent process has changed; on Linux SIGTERM comes at that moment",
        )


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


# Its surroundings ---------------------------------------------------------------------------------


@contract("life", severity=Severity.STOPS, source=_RUNTIME)
def keeps_its_streams(bench: Bench) -> None:
    """The node stops a plugin whose stdout or stderr has ended."""
    if not os.path.isdir("/proc/self/fd"):
        raise Skipped("this system has no /proc/self/fd")
    with bench.chain() as host:
        bench.alive(host)
        lost = [
            name
            for descriptor, name in ((1, "stdout"), (2, "stderr"))
            if not _is_pipe(f"/proc/{host.process.pid}/fd/{descriptor}")
        ]
        if lost:
            raise Violation(
                f"the plugin has closed or redirected {' and '.join(lost)}",
                sent="nothing: a start up to normal operation",
                got=f"{' and '.join(lost)} no longer lead to the node",
                node="it treats the plugin as dead: SIGTERM, and SIGKILL 5 s later",
                cure="leave descriptors 1 and 2 as they are, and log to them",
            )


def _is_pipe(path: str) -> bool:
    try:
        return os.readlink(path).startswith("pipe:")
    except OSError:
        return False


@contract("life", severity=Severity.STOPS, source="vms/registry/vm_getter.go")
def leaves_no_file(bench: Bench) -> None:
    """A node that finds a stray file in its plugin directory does not start."""
    folders = _plugin_folders(bench.command)
    with tempfile.TemporaryDirectory() as working:
        before = {name for folder in folders for name in _files(folder)}
        bench.command = _in_folder(working, bench.command)
        with bench.start() as host:
            bench.alive(host)
        left = {name for folder in folders for name in _files(folder)} - before
        left.update(os.path.join(working, name) for name in os.listdir(working))
    if left:
        raise Violation(
            "the plugin leaves files in the plugin directory or its working directory",
            sent="a start up to normal operation, then a stop",
            got=", ".join(sorted(left)),
            node='it does not start any more: "invalid vmID", if the file is in the plugin directory',
            cure="write to chain_data_dir, which Initialize gets, or to the database",
        )


def _plugin_folders(command: list[str]) -> set[Path]:
    """Where the plugin's own files lie: a node sees their folder as its plugin directory."""
    files = command if len(command) == 1 else command[1:]
    return {Path(name).resolve().parent for name in files if os.path.isfile(name)}


def _files(folder: Path) -> set[str]:
    return {str(entry) for entry in folder.iterdir() if not entry.is_dir()}


@contract("life", severity=Severity.STOPS, source=_RUNTIME)
def starts_in_a_read_only_directory(bench: Bench) -> None:
    """The working directory is the node's, and may be read-only."""
    # Nobody can create a file there, not even root.
    _starts_in(bench, "/proc", "read-only")


@contract("life", severity=Severity.BETTER_NOT, source=_RUNTIME)
def starts_in_a_deleted_directory(bench: Bench) -> None:
    """The working directory is the node's, and may have been removed since."""
    folder = tempfile.mkdtemp()
    try:
        _starts_in(bench, folder, "deleted", '/bin/rmdir "$1" && ')
    finally:
        if os.path.isdir(folder):
            os.rmdir(folder)


def _starts_in(bench: Bench, folder: str, kind: str, action: str = "") -> None:
    if not os.path.isdir("/proc/self"):
        raise Skipped("only on Linux")
    command, bench.command = bench.command, _in_folder(folder, bench.command, action)
    try:
        with bench.alone() as host:
            bench.alive(host)
    except (EndedBeforeHandshake, ChainFatal, CallFailed, PluginGone) as error:
        bench.command = command
        with bench.alone():
            pass  # If it doesn't start elsewhere either, the directory is not the reason.
        raise Violation(
            f"the plugin does not run in a {kind} working directory",
            sent=f"a start in {folder} ({kind})",
            got=str(error),
            node="it has no such VM when it is started from such a directory",
            cure="use absolute paths, and write to chain_data_dir",
        ) from None


def _in_folder(folder: str, command: list[str], action: str = "") -> list[str]:
    """A command that runs *command* in *folder*, after *action*."""
    script = f'cd "$1" && {action}shift && exec "$@"'
    program = [os.path.abspath(word) if os.sep in word and os.path.exists(word) else word for word in command]
    return ["/bin/sh", "-c", script, "sh", folder, *program]


@contract("life", severity=Severity.BETTER_NOT, source=_STOPPER)
def leaves_no_temporary_file(bench: Bench) -> None:
    """Temporary files and sockets are removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        bench.command = ["/usr/bin/env", f"TMPDIR={folder}", *bench.command]
        with bench.start() as host:
            bench.alive(host)
        left = sorted(os.listdir(folder))
    if left:
        raise Violation(
            "the plugin leaves temporary files behind",
            sent="a start up to normal operation, then a stop",
            got=f"{', '.join(left)} in the folder for temporary files",
            node="each start of the node leaves more of them",
            cure="remove them in Shutdown, or unlink them as soon as they are open",
        )


@contract("life", severity=Severity.STOPS, source="chains/manager.go")
def chains_run_side_by_side(bench: Bench) -> None:
    """A node runs a process for each chain of a VM: ports and lock files must not collide."""
    with bench.alone() as first:
        try:
            with bench.alone(chain_id=ID.of(b"vmsdk check: a second chain")) as second:
                bench.alive(second)
        except HostError as error:
            raise Violation(
                "a second chain of the VM does not start while the first runs",
                sent="a start up to normal operation, while another process of the plugin runs",
                got=str(error),
                node="only one of the VM's chains runs",
                cure="let the system choose ports, and keep lock files in chain_data_dir",
            ) from None
        bench.alive(first)


# Children -----------------------------------------------------------------------------------------


@contract("life", severity=Severity.MISBEHAVES, source=_STOPPER)
def leaves_no_child(bench: Bench) -> None:
    """Processes that the plugin has started end with it."""
    _check_children(bench, "Shutdown, then SIGTERM", Host.stop)


@contract("life", severity=Severity.MISBEHAVES, source=_STOPPER)
def leaves_no_child_when_killed(bench: Bench) -> None:
    """Processes that the plugin has started end with it even if it is killed."""
    _check_children(bench, "SIGKILL", Host.kill)


def _check_children(bench: Bench, sent: str, end: Callable[[Host], int | None]) -> None:
    if not hasattr(os, "pidfd_open"):
        raise Skipped("only Linux can wait for a process that is not a child")
    # Not the node's address: another plugin may have had the same port, and its processes live.
    mark = f"VMSDK_CHECK_CHILDREN={uuid4().hex}"
    bench.command = ["/usr/bin/env", mark, *bench.command]
    with ExitStack() as resources:
        with bench.alone() as host:
            bench.alive(host)
            watched = _watch(_family(host.process, mark), resources)
            end(host)
        left = _await_ends(watched, GRACEFUL_STOP_TIMEOUT_S)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    if left:
        raise Violation(
            "processes that the plugin has started outlive it",
            sent=sent,
            got=f"{len(left)} still ran 5 s after the plugin's end",
            node="it can't stop them; they keep files, ports and memory",
            cure="end them in Shutdown, and let them end when their parent does",
        )


def _family(process: PluginProcess, mark: str) -> list[int]:
    """The processes that the plugin has started, and those that they have started.

    *mark* is a variable of the plugin's environment, and of no other.
    """
    pid = process.pid
    parents: dict[int, int] = {}
    family = set()
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and int(entry) != pid:
            parents[int(entry)] = _parent(entry)
            # A process that has left its parent still has its environment.
            if mark.encode() in _environment(entry):
                family.add(int(entry))
    found = {pid or 0}
    while found:
        found = {child for child, parent in parents.items() if parent in found}
        family.update(found)
    return sorted(family)


def _parent(pid: str) -> int:
    try:
        return int(Path("/proc", pid, "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def _environment(pid: str) -> list[bytes]:
    try:
        return Path("/proc", pid, "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _watch(pids: Iterable[int], resources: ExitStack) -> dict[int, int]:
    """Descriptors, by process ID, that become readable when the process ends."""
    watched = {}
    for pid in pids:
        try:
            watched[pid] = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        resources.callback(os.close, watched[pid])
    return watched


def _await_ends(watched: dict[int, int], timeout_s: float) -> list[int]:
    """Wait for the processes; returns those that still run after *timeout_s*."""
    running = dict(watched)
    deadline = time.monotonic() + timeout_s
    while running and time.monotonic() < deadline:
        ended, _, _ = select.select(list(running.values()), [], [], max(0.0, deadline - time.monotonic()))
        running = {pid: descriptor for pid, descriptor in running.items() if descriptor not in ended}
    return list(running)


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
