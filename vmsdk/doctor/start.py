"""The node's first seconds with a plugin: start, handshake, Version, Shutdown, SIGTERM."""

from __future__ import annotations

import re
import shlex
import signal
import time

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk.doctor.announcement import connects, is_local
from vmsdk.doctor.descendants import adopted
from vmsdk.doctor.diagnosis import diagnose, tail
from vmsdk.doctor.file import NO_HANDSHAKE
from vmsdk.doctor.finding import worst
from vmsdk.doctor.trial import SLOW_S, Outcome, Trial
from vmsdk.host.client import VMClient
from vmsdk.host.engine import call_failed
from vmsdk.host.errors import HandshakeFailed, PluginGone, StartFailed
from vmsdk.host.plugin import HANDSHAKE_TIMEOUT_S, PluginProcess
from vmsdk.protocol import PROTOCOLS, RANGE

SHUTDOWN_TIMEOUT_S = 10.0
# How long after its announcement a plugin may begin to listen.
_LATE_S = 1.0
_POLL_S = 0.02
# What a VM logs if it asks its node for the protocol, and finds this program instead.
_ASKS = re.compile(
    r"the default, since (?:no parent process|the executable of the parent|the node .* did not)"
)
_SCHEME = re.compile(r"(?:\w+://|ipv[46]:|dns:)/*")
_FALLBACK = re.compile(r"no Unix socket can be made: (.*?)\. The VM listens")


class Start:
    """Starts the plugin of *trial* as a node that speaks *node_protocol* (None: any) does."""

    def __init__(self, trial: Trial, node_protocol: int | None = None) -> None:
        self._trial = trial
        self._outcome = trial.outcome
        self._process = trial.process
        self._announced = trial.announced
        self._file = trial.file
        self._node_protocol = node_protocol

    def run(self) -> Outcome:
        """Start it and stop it. Leaves no process behind."""
        with adopted() as end_descendants:
            try:
                self._run()
            finally:
                self._process.kill()
            left = end_descendants()
            if left and self._outcome.version is not None:
                names = tuple(f"{pid}: {command}" for pid, command in left)
                self._trial.find(
                    "warning",
                    "left-processes",
                    "it leaves processes behind when it ends",
                    "end them in shutdown(), or start them with a parent-death signal",
                    names,
                )
        return self._outcome

    def _run(self) -> None:
        process, outcome = self._process, self._outcome
        try:
            outcome.address = process.start()
        except StartFailed as error:
            outcome.findings.append(self._file.exec_failure(error.reason))
            return
        except HandshakeFailed:
            if self._announced.timed_out:
                what = f"does not announce itself within {self._trial.patience_s:.0f} s, and a node waits for"
                self._trial.hangs(f"{what} {HANDSHAKE_TIMEOUT_S:.0f} s", "no-handshake", NO_HANDSHAKE)
            else:
                self._trial.ended(process.exit_code, "before the handshake")
            return
        finally:
            outcome.protocol = self._announced.version
        self._handshake(process.handshake_s or 0.0)
        if not self._announced.streams and self._address(outcome.address):
            self._register(process)
        self._check_output()

    # The handshake --------------------------------------------------------------------------------

    def _handshake(self, taken_s: float) -> None:
        self._outcome.timings_s["handshake"] = taken_s
        if taken_s > SLOW_S:
            late = taken_s > HANDSHAKE_TIMEOUT_S
            cure = (
                "complete the handshake first: do slow imports in Initialize, or use vmsdk install, whose"
                " launcher imports the VM after the handshake"
            )
            if self._file.launcher is not None:
                cure = "look for a busy machine or a slow disk: vmsdk itself takes that long"
            if self._file.is_bundle:
                cure = (
                    "if this was its first start, it has unpacked itself: try again. Unpack it before the"
                    f" node starts it: sudo -u USER {shlex.quote(str(self._file.path))} --version"
                )
            self._trial.find(
                "error" if late else "warning",
                "slow-start",
                f"the handshake came {taken_s:.1f} s after the start; a node waits for"
                f" {HANDSHAKE_TIMEOUT_S:.0f} s",
                cure,
                self._trial.slow_imports(taken_s),
                NO_HANDSHAKE if late else "nothing, as long as the machine is not busy",
            )
        if self._announced.calls["Initialize"] > 1:
            self._trial.find(
                "warning",
                "handshake-twice",
                "it announces itself more than once",
                "call Initialize of vm.runtime.Runtime once per process",
                node="it ignores the second call, or fails it",
            )
        self._protocol(self._announced.version)
        for name, target in self._announced.streams.items():
            self._trial.find(
                "error",
                "closed-stream",
                f"it closes or redirects {name} ({target})",
                f"leave {name} open, and write the log there: the node puts it into its own",
                node="it treats the plugin as dead, and stops it",
            )

    def _protocol(self, announced: int | None) -> None:
        wanted = self._node_protocol
        if wanted is None and announced not in PROTOCOLS:
            what = (
                f"it speaks protocol {announced}, and no node that this vmsdk knows does: they speak {RANGE}"
            )
            self._trial.find("error", "protocol", what, "build the VM for the node's protocol")
        if wanted is None or announced == wanted:
            return
        launcher = self._file.launcher
        asks = launcher is not None and launcher.ask_parent and launcher.protocol is None
        if wanted in PROTOCOLS and (asks or _ASKS.search("\n".join(self._trial.output()))):
            return
        cure = f"build the VM for protocol {wanted}, or run a node that speaks {announced}"
        if launcher is not None:
            cure = (
                f"vmsdk install {launcher.target} --plugin-dir {self._file.path.parent}, without --protocol,"
                f" or with {wanted}"
            )
        if launcher is not None and wanted not in PROTOCOLS:
            cure = "pip install --upgrade vmsdk, or run another release of the node"
        self._trial.find(
            "error",
            "protocol",
            f"it speaks protocol {announced}, and the node {wanted}",
            cure,
            node=(
                f"RPCChainVM protocol version mismatch … implements RPCChainVM protocol version {wanted}. The"
                f" VM … {announced}"
            ),
        )

    def _address(self, address: str) -> bool:
        """Check the announced address. Returns whether it can be reached."""
        deadline_s = time.monotonic() + _LATE_S
        while not (reached := connects(address)) and time.monotonic() < deadline_s:
            if self._process.wait(_POLL_S) is not None:
                break
        if not reached and self._process.wait(_POLL_S) is not None:
            self._trial.ended(self._process.exit_code, "after the handshake")
        elif not reached:
            cure = (
                'listen on "127.0.0.1:0", and announce 127.0.0.1 and the port that the system chose, as in'
                " 127.0.0.1:4000"
            )
            without_scheme = _SCHEME.sub("", address)
            if without_scheme != address and connects(without_scheme):
                cure = f"announce {without_scheme}: a node takes no scheme before it"
            self._trial.find(
                "error",
                "address-refused",
                f"it announces {address!r}, where nothing listens",
                cure,
                tail(self._trial.output()),
                "its start hangs: its calls wait for the plugin forever",
            )
        if not reached:
            return False
        if not self._announced.was_bound:
            self._trial.find(
                "error",
                "announced-early",
                f"it announces {address} before it listens there",
                "bind and listen first, then call Initialize of vm.runtime.Runtime",
                node="its first calls fail or wait",
            )
        if not is_local(address):
            self._trial.find(
                "warning",
                "address",
                f"it announces {address!r}, which other machines may reach",
                'listen on "127.0.0.1:0", and announce that address',
                node="calls go through the network, without authentication",
            )
        return True

    # Version, Shutdown, SIGTERM -------------------------------------------------------------------

    def _register(self, process: PluginProcess) -> None:
        assert process.address is not None
        client = VMClient(process.address, wait=process.wait)
        try:
            if self._version(client):
                self._shut_down(client)
            elif process.alive:
                client.Shutdown(Empty(), SHUTDOWN_TIMEOUT_S)
        except PluginGone as error:
            if worst(self._outcome.findings) != "error":
                self._trial.ended(error.exit_code, f"during {error.method}")
        except grpc.RpcError:
            pass  # a fault has been reported already
        finally:
            client.close()
        if process.alive:
            self._stop(process)

    def _version(self, client: VMClient) -> bool:
        outcome, began_s = self._outcome, time.perf_counter()
        try:
            outcome.version = client.Version(Empty(), self._trial.version_timeout_s).version
        except grpc.RpcError as error:
            failure = call_failed("Version", error)
            if failure.code == "DEADLINE_EXCEEDED":
                self._trial.hangs(
                    f"does not respond to Version within {self._trial.version_timeout_s:.0f} s",
                    "no-response",
                    "its start hangs: it waits forever",
                )
            else:
                self._trial.explain(
                    "not-loaded",
                    f"Version fails: {failure.details or failure.code}",
                    "registering the VM fails: see vm-factory.log",
                    failure.details,
                    cure="serve vm.VM at the announced address" if failure.code == "UNIMPLEMENTED" else "",
                )
            return False
        outcome.timings_s["version"] = taken_s = time.perf_counter() - began_s
        if taken_s > HANDSHAKE_TIMEOUT_S:
            self._trial.find(
                "warning",
                "slow-import",
                f"the VM is ready {taken_s:.1f} s after the handshake: its imports are slow",
                "move slow imports to where they are used",
                self._trial.slow_imports(taken_s),
                "its start waits that long",
            )
        if not outcome.version:
            self._trial.find("note", "no-version", "the VM's version is empty", 'set one: version = "1.0.0"')
        return True

    def _shut_down(self, client: VMClient) -> None:
        began_s = time.perf_counter()
        try:
            client.Shutdown(Empty(), SHUTDOWN_TIMEOUT_S)
        except grpc.RpcError as error:
            failure = call_failed("Shutdown", error)
            if failure.code == "DEADLINE_EXCEEDED":
                what = f"it does not respond to Shutdown within {SHUTDOWN_TIMEOUT_S:.0f} s"
                cure = "stop threads and close files without waiting for long"
                self._trial.find("error", "shutdown", what, cure)
                return
            self._trial.explain(
                "shutdown",
                f"Shutdown fails: {failure.details or failure.code}",
                "the error, at its end",
                failure.details,
            )
        self._outcome.timings_s["shutdown"] = time.perf_counter() - began_s

    def _stop(self, process: PluginProcess) -> None:
        began_s = time.perf_counter()
        exit_code = process.stop()
        self._outcome.timings_s["end"] = taken_s = time.perf_counter() - began_s
        if exit_code == -signal.SIGKILL and taken_s >= self._trial.stop_timeout_s:
            self._trial.find(
                "error",
                "ignores-sigterm",
                f"it does not end within {self._trial.stop_timeout_s:g} s of Shutdown and SIGTERM",
                "end the process at SIGTERM once Shutdown was called: don't block the signal, and join no"
                " thread that never ends",
                tail(process.output),
                "it kills the plugin",
            )
        elif exit_code is not None and exit_code < 0 and exit_code != -signal.SIGTERM:
            self._trial.ended(exit_code, "while it ended")

    def _check_output(self) -> None:
        output = self._trial.output()
        fallback = next((match[1] for each in output if (match := _FALLBACK.search(each))), None)
        if fallback is not None:
            self._trial.find(
                "warning",
                "no-unix-socket",
                f"no Unix socket can be made ({fallback}), so the VM listens on TCP, where it can refuse"
                " other users' calls only on Linux",
                "let the node's user write to /tmp, or: vmsdk install --env TMPDIR=/run/vms",
            )
        if not any(each.severity == "error" for each in self._outcome.findings) and any(
            "Traceback" in each for each in output
        ):
            found = diagnose(output, self._file.python)
            if found is not None:
                self._trial.find(
                    "warning",
                    "traceback",
                    f"it starts, but logs an error: {found.what}",
                    found.cure,
                    found.shown,
                    where=found.place,
                )
