"""The handshake: how a new plugin process announces itself to the node."""

from __future__ import annotations

import ipaddress
import math
import os
import socket
import subprocess
import threading
from pathlib import Path

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm.runtime import runtime_pb2
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.host.engine import call_failed
from vmsdk.host.errors import CallFailed, EndedBeforeHandshake, ProtocolMismatch
from vmsdk.host.plugin import ENGINE_ADDRESS_KEY, HANDSHAKE_TIMEOUT_S, with_variables
from vmsdk.host.runtime import RuntimeService
from vmsdk.protocol import protocol
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import RUNTIME, VM_GO, VM_SERVER, Severity, Skipped, Violation, contract
from vmsdk.testing.wire import CALL_TIMEOUT_S, call, check_loopback_only, connects, get_ancestors

# How long to wait for a second announcement, which must not come.
_QUIET_S = 1.0
_HARMLESS_TIMEOUT_S = 1.0  # WaitForEvent takes all of it.
# The machine may be busy during one of them.
_STARTS = 2
# A plugin's own call of the node has a deadline of 5 s.
_EXIT_TIMEOUT_S = 10.0


@contract("handshake", severity=Severity.STOPS, source=RUNTIME)
def announces_in_time(bench: Bench) -> None:
    """A plugin that does not call the node within 5 s of its start is stopped."""
    taken_s, waited_s = [], []
    for _ in range(_STARTS):
        with bench.announced(handshake_timeout_s=6 * HANDSHAKE_TIMEOUT_S) as process:
            taken_s.append(process.handshake_s or 0.0)
            waited_s.append(_seconds_without_processor(process.pid))
        if taken_s[-1] <= HANDSHAKE_TIMEOUT_S:
            break
    # A fast start after a slow one excuses the plugin only if the machine kept it waiting.
    if taken_s[-1] > HANDSHAKE_TIMEOUT_S:
        sent = f"nothing: the process was started, {_STARTS} times"
    elif taken_s[0] - waited_s[0] > HANDSHAKE_TIMEOUT_S:
        sent = f"nothing: the process was started; a second start took {taken_s[-1]:.1f} s"
    else:
        return
    raise Violation(
        "the plugin announced itself too late",
        sent=sent,
        got=f"the handshake after {taken_s[0]:.1f} s",
        node='it stops the plugin after 5 s: "handshake failed: vm process not found"',
        cure="make the handshake first; load data, and prepare what later starts use, in Initialize",
    )


def _seconds_without_processor(pid: int | None) -> float:
    """Return how long the threads of a process had to wait for a processor; infinity if unknown."""
    try:
        # Linux, Documentation/scheduler/sched-stats.rst: the second number is in nanoseconds.
        waits = [path.read_text().split()[1] for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    except (OSError, IndexError):
        return math.inf
    return sum(map(int, waits)) / 1e9 if waits else math.inf


class _Watcher(RuntimeService):
    """Connects to the plugin during its announcement, and waits *quiet_s* for a second one."""

    def __init__(self, bench: Bench, quiet_s: float = 0.0) -> None:
        super().__init__(protocol(bench.protocol), bench.command[0])
        self.was_bound = False
        self._quiet_s = quiet_s
        self._again = threading.Event()

    @property
    def announcements(self) -> int:
        """How often the plugin called."""
        return self.calls["Initialize"]

    def Initialize(self, request: runtime_pb2.InitializeRequest) -> Empty:  # noqa: N802 - the wire's
        if self.announcements > 1:
            self._again.set()
        else:
            self.was_bound = connects(request.addr)
        return super().Initialize(request)

    def wait(self, timeout_s: float) -> bool:
        called = super().wait(timeout_s)
        if called:
            self._again.wait(self._quiet_s)
        return called


@contract("handshake", severity=Severity.STOPS, source=VM_GO)
def binds_before_announcing(bench: Bench) -> None:
    """The node may connect as soon as the plugin has called, so the port must be listening."""
    watcher = _Watcher(bench)
    with bench.announced(runtime=watcher) as process:
        address = process.address
    if not watcher.was_bound:
        raise Violation(
            "the announced address did not accept a connection during the handshake",
            sent=f"a TCP connection to {address}",
            got="the connection was refused",
            node="its first calls fail or wait forever",
            cure="bind and listen on the port first, then call Initialize of vm.runtime.Runtime",
        )


@contract("handshake", severity=Severity.BETTER_NOT, source=RUNTIME)
def announces_once(bench: Bench) -> None:
    """Only the first announcement counts; the node closes the service after it."""
    watcher = _Watcher(bench, _QUIET_S)
    with bench.announced(runtime=watcher):
        pass
    if watcher.announcements > 1:
        raise Violation(
            "the plugin announced itself more than once",
            sent="an OK response to the first announcement",
            got=f"{watcher.announcements} announcements",
            node="it ignores the second, or fails it because the service is closed",
            cure="call Initialize of vm.runtime.Runtime once per process",
        )


@contract("handshake", severity=Severity.STOPS, source=VM_GO)
def announces_a_loopback_address(bench: Bench) -> None:
    """The node dials the announced text as it is, and resolves no name."""
    with bench.announced() as process:
        address = process.address or ""
        reached = connects(address)
    host, _, port = address.rpartition(":")
    try:
        is_loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        is_loopback = False
    is_local = address.startswith("unix:") or (is_loopback and port.isdecimal())
    if not (is_local and reached):
        raise Violation(
            "the announced address is not an address on this machine's loopback interface",
            sent="nothing: the process was started",
            got=f"the address {address!r}",
            node="its calls wait for an address that it can't reach, or go through the network",
            cure='listen on "127.0.0.1:0" and announce "127.0.0.1:" with the port that you got',
        )


@contract("handshake", severity=Severity.MISBEHAVES, source=VM_GO)
def listens_on_loopback_only(bench: Bench) -> None:
    """Calls are not authenticated, so other machines must not reach the plugin."""
    with bench.chain() as host:
        if host.client.address.startswith("unix:"):
            raise Skipped("the plugin listens on a Unix socket")
        check_loopback_only("the plugin", [host.client.address])


@contract("handshake", severity=Severity.STOPS, source=RUNTIME)
def starts_without_environment(bench: Bench) -> None:
    """A node sets one variable for a plugin, and no PATH, HOME or LANG."""
    try:
        with bench.announced(environment={}):
            pass
    except EndedBeforeHandshake as error:
        variables = [f"{name}={value}" for name, value in os.environ.items()]
        bench.command = with_variables(bench.command, *variables)
        with bench.announced():
            pass  # If it doesn't start now either, the environment is not the reason.
        raise Violation(
            "the plugin does not start with an empty environment",
            sent=f"a start with {ENGINE_ADDRESS_KEY} as the only variable",
            got=str(error),
            node='it reports "handshake failed: vm process not found"',
            cure="use absolute paths, a #! line without env, and defaults for variables that are missing",
        ) from None


@contract("handshake", severity=Severity.BETTER_NOT, source=RUNTIME)
def ends_when_refused(bench: Bench) -> None:
    """A plugin whose protocol version the node refuses exits."""
    other = bench.protocol - 1 if bench.protocol > 35 else bench.protocol + 1
    process = bench.process(protocol=other)
    try:
        process.start()
    except ProtocolMismatch:
        pass
    else:
        process.kill()
        raise Skipped("the plugin speaks the protocol of the node that starts it, whichever that is")
    if process.exit_code == -9:
        raise Violation(
            "the plugin did not exit when the node refused its protocol",
            sent="the error of a version mismatch, then SIGTERM",
            got="the process still ran after 5 s",
            node="it kills the process; the plugin can't report what went wrong",
            cure="when the handshake fails, print the error and exit",
        )


@contract("handshake", severity=Severity.BETTER_NOT, source=VM_GO)
def ends_without_a_node(bench: Bench) -> None:
    """A plugin that is not started by a node prints why it can't run, and exits."""
    _check_exit(
        bench,
        {},
        "the plugin keeps running without a node",
        sent=f"a start without {ENGINE_ADDRESS_KEY}",
        node="nothing: no node is involved",
        cure=f"if {ENGINE_ADDRESS_KEY} is missing, print what the program is for and exit",
    )


@contract("handshake", severity=Severity.BETTER_NOT, source=VM_GO, slow=True)
def ends_if_the_node_is_gone(bench: Bench) -> None:
    """A plugin whose node ends during the handshake exits."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        _check_exit(
            bench,
            {ENGINE_ADDRESS_KEY: address},
            "the plugin waits for a node that is gone",
            sent=f"a start with the address {address}, where nothing listens",
            node="nothing: it is gone, and the process stays",
            cure="give the handshake a deadline of 5 s, and exit if it fails",
        )


def _check_exit(
    bench: Bench, environment: dict[str, str], otherwise: str, *, sent: str, node: str, cure: str
) -> None:
    """Start the plugin without a node. Raises `Violation` if it does not exit."""
    try:
        subprocess.run(
            bench.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_EXIT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        got = f"the process still ran after {_EXIT_TIMEOUT_S:.0f} s"
        raise Violation(otherwise, sent=sent, got=got, node=node, cure=cure) from None


@contract("handshake", severity=Severity.BETTER_NOT, source="vms/registry/vm_getter.go")
def version_before_initialize(bench: Bench) -> None:
    """A node asks for the version first, without initialising the VM, and shows it to its users."""
    with bench.connected() as host:
        if not call(host, "Version", Empty()).version:
            raise Violation(
                "the VM has no version",
                sent="Version before Initialize",
                got="an empty text",
                node="it shows an empty version in info.getNodeVersion",
                cure="return any text that names the release",
            )


@contract("handshake", severity=Severity.STOPS, source=VM_SERVER)
def serves_its_protocol(bench: Bench) -> None:
    """Every method of the announced protocol version exists."""
    spoken = protocol(bench.protocol)
    missing = []
    with bench.alone() as host:
        for name, method in VM.methods.items():
            if name in ("Initialize", "Shutdown", "SetState"):
                continue  # The host has called them, or will.
            if name.startswith("CrossChain") and not spoken.cross_chain_messages:
                continue
            if name == "WaitForEvent" and not spoken.waits_for_events:
                continue
            if name in ("CreateHTTP2Handler", "NewHTTPHandler") and name != spoken.http2_method:
                continue
            try:
                request = get_ancestors(bytes(32))[1] if name == "GetAncestors" else method.request()
                call(host, name, request, _HARMLESS_TIMEOUT_S)
            except CallFailed as error:
                if error.code == grpc.StatusCode.UNIMPLEMENTED.name:
                    missing.append(name)
    if missing:
        raise Violation(
            f"the plugin announced protocol {bench.protocol} but lacks methods of it",
            sent=", ".join(missing),
            got="UNIMPLEMENTED",
            node="without WaitForEvent it never builds a block; without Gather its metrics page fails",
            cure="announce the version that your generated code is for, and implement all its methods",
        )


@contract("handshake", severity=Severity.BETTER_NOT, source=VM_GO)
def serves_the_health_service(bench: Bench) -> None:
    """Monitoring tools check a plugin with the standard gRPC health service."""
    with bench.chain() as host:
        try:
            status = host.client.check_health(CALL_TIMEOUT_S)
            got = "" if status == 1 else f"status {status}"
        except grpc.RpcError as error:
            got = str(call_failed("Check", error))
    if got:
        raise Violation(
            "the plugin has no gRPC health service",
            sent='Check of grpc.health.v1.Health, for the service ""',
            got=got,
            node="it does not use the service, but monitoring tools do",
            cure="register grpc.health.v1.Health on the VM's server with the status SERVING",
        )
