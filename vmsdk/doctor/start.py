"""The node's first seconds with a plugin: start, handshake, Version, Shutdown, SIGTERM."""

from __future__ import annotations

import ctypes
import glob
import ipaddress
import os
import re
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm.runtime import runtime_pb2 as pb
from vmsdk.doctor.file import PluginFile
from vmsdk.doctor.finding import Finding, Severity, worst
from vmsdk.doctor.symptom import author_frame, diagnose, stack, tail
from vmsdk.host.client import VMClient
from vmsdk.host.engine import call_failed
from vmsdk.host.errors import EndedBeforeHandshake, HandshakeFailed, PluginGone, StartFailed, ending
from vmsdk.host.plugin import GRACEFUL_STOP_TIMEOUT_S, HANDSHAKE_TIMEOUT_S, Log, PluginProcess
from vmsdk.host.runtime import RuntimeService
from vmsdk.host.spawn import Surroundings
from vmsdk.protocol import DEFAULT_PROTOCOL, PROTOCOLS, RANGE, protocol

# How long to wait beyond the node's 5 s, to say how slow a plugin is.
PATIENCE_S = 15.0
# A node has no limit for it.
VERSION_TIMEOUT_S = 30.0
SHUTDOWN_TIMEOUT_S = 10.0
# Half of the node's limit: a busy machine needs the rest.
SLOW_S = HANDSHAKE_TIMEOUT_S / 2
# How long to wait for a second announcement.
_QUIET_S = 0.2
_CONNECT_TIMEOUT_S = 2.0
_STACK_TIMEOUT_S = 3.0
# How long after its announcement a plugin may begin to listen.
_LATE_S = 1.0
# How long the plugin's own children may take to notice its end.
_END_S = 0.5
_POLL_S = 0.02
# A program in Go prints the reason first, and then hundreds of lines.
_FIRST_LINES = 50
# Imports that take less are not worth a line.
_SHORT_US = 100_000
_NOT_FOUND = "handshake failed: vm process not found"
# What a VM logs that asks its node for the protocol, and finds this program instead.
_ASKS = re.compile(r"the default, since (?:no parent process|the node .* did not)")
_IMPORT_TIME = re.compile(r"^import time:\s*(\d+) \|\s*(\d+) \| *(\S+)$")
_FALLBACK = re.compile(r"no Unix socket can be made: (.*?)\. The VM listens")
_SHELL_STATUSES = {126: "a command in it can't be executed", 127: "a command in it is not found"}
_ENDINGS = {
    "SIGKILL": (
        "the system or a user killed it, perhaps for lack of memory: look into dmesg for the OOM killer"
    ),
    "SIGTERM": (
        "a node stops a plugin that closes stdout or stderr: leave both open, and don't fork into the"
        " background"
    ),
    "SIGSYS": "a sandbox (seccomp, SystemCallFilter=) forbids a system call that it makes",
    "SIGILL": "it uses instructions that this processor lacks: build it for an older one",
    "SIGXFSZ": "it writes a file beyond the limit (ulimit -f, LimitFSIZE=)",
    "SIGXCPU": "it used more processor time than the limit allows (ulimit -t, LimitCPU=)",
}


@dataclass
class Played:
    """What happened."""

    findings: list[Finding] = field(default_factory=list)
    timings_s: dict[str, float] = field(default_factory=dict)
    """Seconds for each step: handshake, version, shutdown, end."""
    protocol: int | None = None
    """The protocol version that the plugin announced."""
    version: str | None = None
    """What the VM returns as its version."""
    address: str | None = None


class _Reception(RuntimeService):
    """Accepts any version, and checks whether the address is bound at that moment."""

    def __init__(self) -> None:
        super().__init__(protocol(DEFAULT_PROTOCOL), "")
        self.version: int | None = None
        self.was_bound = False
        self.process: PluginProcess | None = None
        self.timed_out = False
        self.streams: dict[str, str] = {}
        """Where stdout and stderr lead to, if that isn't the node's pipe."""

    def Initialize(self, request: pb.InitializeRequest) -> Empty:  # noqa: N802 - the wire's
        with self._lock:
            if self.called_at_s is None:
                self.called_at_s = time.perf_counter()
                self.was_bound = connects(request.addr)
                self.streams = _redirected(None if self.process is None else self.process.pid)
                self.version, self.address = request.protocol_version, request.addr
                self._called.set()
        return Empty()

    def wait(self, timeout_s: float) -> bool:
        called = super().wait(timeout_s)
        if not called and self.process is not None:
            self.timed_out = True
            _abort(self.process)
        deadline_s = time.monotonic() + _QUIET_S
        while self.address is not None and self.calls["Initialize"] < 2 and time.monotonic() < deadline_s:
            time.sleep(0.01)
        return called


class Start:
    """Starts the plugin *file* as a node that speaks *node_protocol* (None: any) does."""

    def __init__(
        self,
        file: PluginFile,
        surroundings: Surroundings,
        environment: Mapping[str, str],
        node_protocol: int | None = None,
    ) -> None:
        self._file = file
        self._where = str(file.path)
        self._surroundings = surroundings
        self._environment = environment
        self._node_protocol = node_protocol
        self._first: list[str] = []
        self._reception = _Reception()
        self._process = self._plugin(self._reception, log=self._keep)
        self._played = Played()

    def _plugin(
        self,
        reception: _Reception,
        *,
        more: str = "",
        patience_s: float | None = None,
        log: Log | None = None,
    ) -> PluginProcess:
        path = str(self._file.path)
        reception.process = PluginProcess(
            ["/usr/bin/env", more, path] if more else [path],
            log=log,
            environment=self._environment,
            handshake_timeout_s=PATIENCE_S if patience_s is None else patience_s,
            patient=False,
            runtime=reception,
            surroundings=self._surroundings,
        )
        return reception.process

    def _keep(self, stream: str, line: str) -> None:
        if len(self._first) < _FIRST_LINES:
            self._first.append(line)

    def _output(self) -> list[str]:
        """Return the first and the last lines that it printed."""
        last = list(self._process.output)
        return last if self._first == last[: len(self._first)] else [*self._first, *last]

    def play(self) -> Played:
        """Start it and stop it. Leaves no process behind."""
        with adopted() as end_descendants:
            try:
                self._play()
            finally:
                self._process.kill()
            left = end_descendants()
            if left and self._played.version is not None:
                names = tuple(f"{pid}: {command}" for pid, command in left)
                self._find(
                    "warning",
                    "left-processes",
                    "it leaves processes behind when it ends",
                    "end them in shutdown(), or start them with a parent-death signal",
                    names,
                )
        return self._played

    def _play(self) -> None:
        process, played = self._process, self._played
        try:
            played.address = process.start()
        except StartFailed as error:
            played.findings.append(self._file.exec_failure(error.reason))
            return
        except EndedBeforeHandshake as error:
            if self._reception.timed_out:
                what = f"does not announce itself within {PATIENCE_S:.0f} s, and a node waits for"
                self._hangs(f"{what} {HANDSHAKE_TIMEOUT_S:.0f} s", "no-handshake", _NOT_FOUND)
            else:
                self._ended(error.exit_code, "before the handshake")
            return
        finally:
            played.protocol = self._reception.version
        self._handshake(process.handshake_s or 0.0)
        if not self._reception.streams and self._address(played.address):
            self._register(process)
        self._aftermath()

    # The handshake --------------------------------------------------------------------------------

    def _handshake(self, taken_s: float) -> None:
        self._played.timings_s["handshake"] = taken_s
        if taken_s > SLOW_S:
            late = taken_s > HANDSHAKE_TIMEOUT_S
            self._find(
                "error" if late else "warning",
                "slow-start",
                f"the handshake came {taken_s:.1f} s after the start; a node waits for"
                f" {HANDSHAKE_TIMEOUT_S:.0f} s",
                "complete the handshake first: do slow imports in Initialize, or use vmsdk install, whose"
                " launcher imports the VM after the handshake",
                self._slow_imports(taken_s),
                _NOT_FOUND if late else "nothing, as long as the machine is not busy",
            )
        if self._reception.calls["Initialize"] > 1:
            self._find(
                "warning",
                "handshake-twice",
                "it announces itself more than once",
                "call Initialize of vm.runtime.Runtime once per process",
                node="it ignores the second call, or fails it",
            )
        self._protocol(self._reception.version)
        for name, target in self._reception.streams.items():
            self._find(
                "error",
                "closed-stream",
                f"it closes or redirects {name} ({target})",
                f"leave {name} open, and write the log there: the node puts it into its own",
                node="it takes the plugin for dead, and stops it",
            )

    def _protocol(self, spoken: int | None) -> None:
        wanted = self._node_protocol
        if wanted is None and spoken not in PROTOCOLS:
            what = f"it speaks protocol {spoken}, and no node that this vmsdk knows does: they speak {RANGE}"
            self._find("error", "protocol", what, "build the VM for the node's protocol")
        if wanted is None or spoken == wanted:
            return
        launcher = self._file.launcher
        asks = launcher is not None and launcher.ask_parent and launcher.protocol is None
        if wanted in PROTOCOLS and (asks or _ASKS.search("\n".join(self._output()))):
            return
        cure = f"build the VM for protocol {wanted}, or run a node that speaks {spoken}"
        if launcher is not None:
            cure = (
                f"vmsdk install {launcher.target} --plugin-dir {self._file.path.parent}, without --protocol,"
                f" or with {wanted}"
            )
        if launcher is not None and wanted not in PROTOCOLS:
            cure = "pip install --upgrade vmsdk, or run another release of the node"
        self._find(
            "error",
            "protocol",
            f"it speaks protocol {spoken}, and the node {wanted}",
            cure,
            node=(
                f"RPCChainVM protocol version mismatch … implements RPCChainVM protocol version {wanted}. The"
                f" VM … {spoken}"
            ),
        )

    def _address(self, address: str) -> bool:
        """Judge what it announced. Returns whether it can be reached."""
        deadline_s = time.monotonic() + _LATE_S
        while not (reached := connects(address)) and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        if not reached and self._process.wait(_POLL_S) is not None:
            self._ended(self._process.exit_code, "after the handshake")
        elif not reached:
            self._find(
                "error",
                "address-refused",
                f"it announces {address!r}, where nothing listens",
                'listen on "127.0.0.1:0", and announce 127.0.0.1 and the port that the system chose',
                tail(self._output()),
                "its start hangs: its calls wait for the plugin forever",
            )
        if not reached:
            return False
        if not self._reception.was_bound:
            self._find(
                "error",
                "announced-early",
                f"it announces {address} before it listens there",
                "bind and listen first, then call Initialize of vm.runtime.Runtime",
                node="its first calls fail or wait",
            )
        if not _is_local(address):
            self._find(
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
            if worst(self._played.findings) != "error":
                self._ended(error.exit_code, f"during {error.method}")
        except grpc.RpcError:
            pass  # the plugin is at fault already
        finally:
            client.close()
        if process.alive:
            self._stop(process)

    def _version(self, client: VMClient) -> bool:
        played, began_s = self._played, time.perf_counter()
        try:
            played.version = client.Version(Empty(), VERSION_TIMEOUT_S).version
        except grpc.RpcError as error:
            failure = call_failed("Version", error)
            if failure.code == "DEADLINE_EXCEEDED":
                self._hangs(
                    f"does not respond to Version within {VERSION_TIMEOUT_S:.0f} s",
                    "no-response",
                    "its start hangs: it waits forever",
                )
            else:
                self._explain(
                    "not-loaded",
                    f"Version fails: {failure.details or failure.code}",
                    "registering the VM fails: see vm-factory.log",
                    failure.details,
                )
            return False
        played.timings_s["version"] = taken_s = time.perf_counter() - began_s
        if taken_s > HANDSHAKE_TIMEOUT_S:
            self._find(
                "warning",
                "slow-import",
                f"the VM is ready {taken_s:.1f} s after the handshake: its imports are slow",
                "move slow imports to where they are used",
                self._slow_imports(taken_s),
                "its start waits that long",
            )
        if not played.version:
            self._find("note", "no-version", "the VM's version is empty", 'set one: version = "1.0.0"')
        return True

    def _shut_down(self, client: VMClient) -> None:
        began_s = time.perf_counter()
        try:
            client.Shutdown(Empty(), SHUTDOWN_TIMEOUT_S)
        except grpc.RpcError as error:
            failure = call_failed("Shutdown", error)
            if failure.code == "DEADLINE_EXCEEDED":
                what = f"it does not respond to Shutdown within {SHUTDOWN_TIMEOUT_S:.0f} s"
                self._find("error", "shutdown", what, "stop threads and close files without waiting for long")
                return
            self._explain(
                "shutdown",
                f"Shutdown fails: {failure.details or failure.code}",
                "the error, at its end",
                failure.details,
            )
        self._played.timings_s["shutdown"] = time.perf_counter() - began_s

    def _stop(self, process: PluginProcess) -> None:
        began_s = time.perf_counter()
        exit_code = process.stop()
        self._played.timings_s["end"] = taken_s = time.perf_counter() - began_s
        if exit_code == -signal.SIGKILL and taken_s >= GRACEFUL_STOP_TIMEOUT_S:
            self._find(
                "error",
                "ignores-sigterm",
                f"it does not end within {GRACEFUL_STOP_TIMEOUT_S:.0f} s of Shutdown and SIGTERM",
                "end the process at SIGTERM once Shutdown was called: don't block the signal, and join no"
                " thread that never ends",
                tail(process.output),
                "it kills the plugin",
            )
        elif exit_code is not None and exit_code < 0 and exit_code != -signal.SIGTERM:
            self._ended(exit_code, "while it ended")

    def _aftermath(self) -> None:
        output = self._output()
        fallback = next((match[1] for each in output if (match := _FALLBACK.search(each))), None)
        if fallback is not None:
            self._find(
                "warning",
                "no-unix-socket",
                f"no Unix socket can be made ({fallback}), so the VM listens on TCP, where it can refuse"
                " other users' calls only on Linux",
                "let the node's user write to /tmp, or: vmsdk install --env TMPDIR=/run/vms",
            )
        if not any(each.severity == "error" for each in self._played.findings) and any(
            "Traceback" in each for each in output
        ):
            found = diagnose(output, self._file.python)
            if found is not None:
                self._find(
                    "warning",
                    "traceback",
                    f"it starts, but logs an error: {found.what}",
                    found.cure,
                    found.shown,
                    where=found.place,
                )

    # Words ----------------------------------------------------------------------------------------

    def _find(
        self,
        severity: Severity,
        code: str,
        what: str,
        cure: str,
        detail: Sequence[str] = (),
        node: str = "",
        where: str = "",
    ) -> None:
        self._played.findings.append(
            Finding(severity, code, where or self._where, what, cure, tuple(detail), node)
        )

    def _explain(self, code: str, what: str, node: str, *more: str) -> None:
        found = diagnose([*self._output(), *more], self._file.python)
        if found is None:
            self._find("error", code, what, "its output shows why", tail(self._output()), node)
        else:
            self._find("error", found.code, found.what, found.cure, found.shown, node, found.place)

    def _ended(self, exit_code: int | None, when: str) -> None:
        output = self._output()
        node = _NOT_FOUND if self._played.protocol is None else "its call fails: see vm-factory.log"
        found = diagnose(output, self._file.python)
        how = ending(exit_code).strip(" ()")
        if exit_code is not None and exit_code < 0:
            lines = stack(output)
            cure = _ENDINGS.get(
                how,
                (
                    "the stack shows where"
                    if lines
                    else "it printed no stack: run it under a debugger, or Python with -X faulthandler"
                ),
            )
            if found is not None and found.code in ("thread-limit", "memory", "too-many-files", "disk-full"):
                cure = f"{found.what}: {found.cure}"
            self._find(
                "error",
                "crash",
                f"it is ended by {how} {when}",
                cure,
                lines or tail(output),
                node,
                author_frame(lines),
            )
            return
        if found is not None:
            self._find("error", found.code, found.what, found.cure, found.shown, node, found.place)
            return
        cure = (
            "its output shows why"
            if output
            else f"it prints nothing: start it yourself, with an empty environment: env -i {self._where}"
        )
        what = f"it ends {when} with {how}"
        if not exit_code:
            cure = (
                'serve the VM at the end of the script: if __name__ == "__main__": vmsdk.serve(MyVM()); '
                "don't fork into the background"
            )
        elif exit_code in _SHELL_STATUSES:
            what += f": {_SHELL_STATUSES[exit_code]}"
        self._find("error", "exits", what, cure, tail(output), node)

    def _hangs(self, what: str, code: str, node: str) -> None:
        """Report a plugin that runs but does nothing, with the stack if possible."""
        _abort(self._process)
        self._process.kill()
        lines = stack(self._output())
        if not lines and self._file.python is not None:
            # With a Python that prints its stack when it is aborted.
            lines = stack(self._again("PYTHONFAULTHANDLER=1", SLOW_S))
        cure = (
            "the stack shows where it waits"
            if lines
            else "look where it waits: py-spy dump, gdb -p, or SIGQUIT for Go"
        )
        detail = lines or tail(self._output())
        self._find("error", code, f"it runs, but {what}", cure, detail, node, author_frame(lines))

    def _slow_imports(self, taken_s: float) -> tuple[str, ...]:
        """Start it again, with a Python that prints the time of its imports; return the slowest.

        *taken_s* is what the first start took.
        """
        spent_us: Counter[str] = Counter()

        def count(stream: str, line: str) -> None:
            found = _IMPORT_TIME.match(line)
            if found is not None:
                spent_us[found[3].partition(".")[0]] += int(found[1])

        if self._file.python is not None:
            self._again("PYTHONPROFILEIMPORTTIME=1", VERSION_TIMEOUT_S, count)
        slowest = [
            f"import {name}: {us / 1e6:.1f} s" for name, us in spent_us.most_common(3) if us > _SHORT_US
        ]
        rest_s = taken_s - spent_us.total() / 1e6
        if spent_us and rest_s > SLOW_S:
            slowest.append(f"code outside of imports: {rest_s:.1f} s")
        return tuple(slowest)

    def _again(self, variable: str, patience_s: float, log: Log | None = None) -> list[str]:
        """Start it with *variable* as well, wait for its version up to *patience_s*, and abort it.

        Returns what it printed.
        """
        process = self._plugin(_Reception(), more=variable, patience_s=patience_s, log=log)
        try:
            client = VMClient(process.start(), wait=process.wait)
            try:
                client.Version(Empty(), patience_s)
            finally:
                client.close()
        except (HandshakeFailed, StartFailed, PluginGone, grpc.RpcError):
            pass
        finally:
            _abort(process)
            process.kill()
        return list(process.output)


def _abort(process: PluginProcess) -> None:
    """Make the process print its stack, if it can, and end."""
    if process.send_signal(signal.SIGABRT):
        process.wait(_STACK_TIMEOUT_S)


def connects(address: str) -> bool:
    """Return whether something listens at *address*."""
    try:
        if address.startswith("unix:"):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(_CONNECT_TIMEOUT_S)
                client.connect(address.removeprefix("unix:").removeprefix("//"))
            return True
        host, _, port = address.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_TIMEOUT_S):
            return True
    except (OSError, ValueError, OverflowError):
        return False


def _redirected(pid: int | None) -> dict[str, str]:
    """Return where stdout and stderr of the process lead to, unless it is a pipe."""
    found = {}
    for number, name in ((1, "stdout"), (2, "stderr")):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{number}")
        except FileNotFoundError:
            if not os.path.isdir(f"/proc/{pid}/fd"):
                continue  # another system, or it has ended
            target = "closed"
        except OSError:
            continue
        if not target.startswith(("pipe:", "socket:")):
            found[name] = target
    return found


def _is_local(address: str) -> bool:
    if address.startswith("unix:"):
        return True
    try:
        return ipaddress.ip_address(address.rpartition(":")[0].strip("[]")).is_loopback
    except ValueError:
        return False


@contextmanager
def adopted() -> Iterator[Callable[[], list[tuple[int, str]]]]:
    """Inside the block, become the parent of descendants whose own parents end (Linux only).

    The block gets a function that ends them, and returns the process ID and command of each. At the
    end of the block none is left.
    """
    before = {pid for pid, _ in _children(reap=False)}

    def end() -> list[tuple[int, str]]:
        deadline_s = time.monotonic() + _END_S
        while (
            left := [each for each in _children() if each[0] not in before]
        ) and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        found = []
        while left:
            for pid, command in left:
                found.append((pid, command))
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            left = [each for each in _children() if each[0] not in before]
        return found

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
    try:
        yield end
    finally:
        end()
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(36, 0)


def _children(*, reap: bool = True) -> list[tuple[int, str]]:
    """Return this process's children with their commands, without those that have ended."""
    found = []
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(stat, "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
            if int(parent) != os.getpid():
                continue
            pid = int(stat.split("/")[2])
            if state == b"Z":
                if reap:
                    os.waitpid(pid, os.WNOHANG)
                continue
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                found.append((pid, file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()))
        except (OSError, ValueError):
            continue
    return found
