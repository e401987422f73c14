"""A trial process of a plugin, and findings about what it does."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk.doctor import format as formats
from vmsdk.doctor.announcement import AnnouncementService, abort
from vmsdk.doctor.diagnosis import Diagnosis, author_frame, diagnose, stack, tail
from vmsdk.doctor.file import NO_HANDSHAKE, PluginFile
from vmsdk.doctor.finding import Finding, Severity
from vmsdk.host.client import VMClient
from vmsdk.host.errors import HandshakeFailed, PluginGone, StartFailed, ending
from vmsdk.host.plugin import GRACEFUL_STOP_TIMEOUT_S, HANDSHAKE_TIMEOUT_S, Log, PluginProcess, with_variables
from vmsdk.host.spawn import Surroundings
from vmsdk.runtime.logrecords import readable

# Half of the node's limit: a busy machine needs the rest.
SLOW_S = HANDSHAKE_TIMEOUT_S / 2
# A program in Go prints the reason first, and then hundreds of lines.
_FIRST_LINES = 50
# Imports that take less are not worth a line.
_SHORT_US = 100_000
_IMPORT_TIME = re.compile(r"^import time:\s*(\d+) \|\s*(\d+) \| *(\S+)$")
_SHELL_STATUSES = {126: "a command in it can't be executed", 127: "a command in it is not found"}
_EXHAUSTED = ("thread-limit", "memory", "too-many-files", "disk-full")
_CONTENTS = ("missing-module", "no-vmsdk", "import-error")
_IN_SOURCE = ("syntax-error", "exception")
_ENDINGS = {
    "SIGKILL": (
        "the system or a user killed it, perhaps for lack of memory: look for the OOM killer in dmesg"
    ),
    "SIGTERM": (
        "a node stops a plugin that closes stdout or stderr: leave both open, and don't fork into the"
        " background"
    ),
    "SIGSYS": "a sandbox (seccomp, SystemCallFilter=) forbids a system call that it makes",
    "SIGPIPE": "it writes to a pipe or a socket whose other end is closed: handle the error, ignore SIGPIPE",
    "SIGHUP": "something in it waits for a terminal, and a plugin has none: don't use screen, script or su -",
    "SIGALRM": "a timer that it set itself, alarm() or setitimer(), ends it: handle the signal",
    "SIGBUS": (
        "it uses a mapped file that was truncated, or is on a full disk, such as /dev/shm: look at df -h, and"
        " copy the plugin again"
    ),
    "SIGILL": "it uses instructions that this processor lacks: build it for an older one",
    "SIGXFSZ": "it writes a file beyond the limit (ulimit -f, LimitFSIZE=)",
    "SIGXCPU": "it used more processor time than the limit allows (ulimit -t, LimitCPU=)",
}


@dataclass
class Outcome:
    """What happened."""

    findings: list[Finding] = field(default_factory=list)
    timings_s: dict[str, float] = field(default_factory=dict)
    """Seconds for each step: handshake, version, shutdown, end."""
    protocol: int | None = None
    """The protocol version that the plugin announced."""
    version: str | None = None
    """What the VM returns as its version."""
    address: str | None = None


class Trial:
    """The plugin *file* as a process with *surroundings* and *environment*, not started yet."""

    patience_s = 15.0
    """How long to wait for the handshake, to report how slow it is; a node waits 5 s."""
    version_timeout_s = 30.0
    """How long to wait for the version; a node has no limit."""
    stop_timeout_s = GRACEFUL_STOP_TIMEOUT_S
    """How long it may take to exit after SIGTERM."""

    def __init__(self, file: PluginFile, surroundings: Surroundings, environment: Mapping[str, str]) -> None:
        self.file = file
        self.outcome = Outcome()
        self.announced = AnnouncementService()
        self._surroundings = surroundings
        self._environment = environment
        self._first: list[str] = []
        self.process = self._plugin(self.announced, log=self._keep)

    def _plugin(
        self,
        announced: AnnouncementService,
        *,
        more: str = "",
        patience_s: float | None = None,
        log: Log | None = None,
    ) -> PluginProcess:
        path = str(self.file.path)
        announced.process = PluginProcess(
            with_variables([path], more) if more else [path],
            log=log,
            environment=self._environment,
            handshake_timeout_s=self.patience_s if patience_s is None else patience_s,
            stop_timeout_s=self.stop_timeout_s,
            patient=False,
            runtime=announced,
            surroundings=self._surroundings,
        )
        return announced.process

    def _keep(self, stream: str, line: str) -> None:
        if len(self._first) < _FIRST_LINES:
            self._first.append(line)

    def output(self) -> list[str]:
        """Return the first and the last lines that it printed, JSON records as plain text."""
        last = list(self.process.output)
        lines = last if self._first == last[: len(self._first)] else [*self._first, *last]
        return _readable(lines)

    def find(
        self,
        severity: Severity,
        code: str,
        what: str,
        cure: str,
        detail: Sequence[str] = (),
        node: str = "",
        where: str = "",
    ) -> None:
        """Add a finding about it."""
        place = where or str(self.file.path)
        self.outcome.findings.append(Finding(severity, code, place, what, cure, tuple(detail), node))

    def _diagnosis(self, lines: Sequence[str]) -> Diagnosis | None:
        found = diagnose(lines, self.file.python)
        if found is not None and self.file.is_bundle and found.code in _CONTENTS:
            return found._replace(cure="build the bundle again, and name the package: --with PACKAGE")
        source = self.file.source
        if found is not None and found.code in _IN_SOURCE and source and not found.place:
            return found._replace(place=str(source.file), shown=())
        return found

    def explain(self, code: str, what: str, node: str, message: str, *, cure: str = "") -> None:
        """Report an error, explained by its *message* and the output, or else by *what*."""
        output = self.output()
        found, returned = self._diagnosis(output), self._diagnosis([message])
        # For the same error, the log has full paths, which the message to the node lacks. But it
        # may also contain a different one that is harmless.
        if found is None:
            found = returned
        elif returned is not None and returned.code != found.code:
            found = returned._replace(place=found.place or returned.place, shown=found.shown)
        if found is None:
            self.find("error", code, what, cure or "its output shows why", tail(output), node)
        else:
            self.find("error", found.code, found.what, found.cure, found.shown, node, found.place)

    def ended(self, exit_code: int | None, when: str) -> None:
        """Report that the process ended by itself."""
        output = self.output()
        node = NO_HANDSHAKE if self.outcome.protocol is None else "its calls fail: see vm-factory.log"
        found = self._diagnosis(output)
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
            if how == "SIGSEGV" and not lines and formats.is_library(self.file.head):
                cure = "if it is a shared library (go build -buildmode=c-shared), build a program instead"
            if found is not None and found.code in _EXHAUSTED:
                cure = f"{found.what}: {found.cure}"
            what = f"it is killed by {how} {when}"
            self.find("error", "crash", what, cure, lines or tail(output), node, author_frame(lines))
            return
        if found is not None:
            self.find("error", found.code, found.what, found.cure, found.shown, node, found.place)
            return
        cure = (
            "its output shows why"
            if output
            else f"it prints nothing: start it yourself, with an empty environment: env -i {self.file.path}"
        )
        what = f"it ends {when} with {how}"
        if not exit_code:
            cure = (
                'serve the VM at the end of the script: if __name__ == "__main__": vmsdk.serve(MyVM()); '
                "don't fork into the background"
            )
        elif exit_code in _SHELL_STATUSES:
            what += f": {_SHELL_STATUSES[exit_code]}"
        elif (killed := ending(128 - exit_code).strip(" ()")).startswith("SIG"):
            what += f": what its script runs is killed by {killed}"
            cure = _ENDINGS.get(killed, cure)
        self.find("error", "exits", what, cure, tail(output), node)

    def hangs(self, what: str, code: str, node: str) -> None:
        """Report a process that hangs, with its stack if possible."""
        abort(self.process)
        self.process.kill()
        lines = stack(self.output())
        if not lines and self.file.python is not None:
            # With this variable, Python prints its stack when it is aborted.
            lines = stack(self._again("PYTHONFAULTHANDLER=1", SLOW_S))
        cure = (
            "the stack shows where it waits"
            if lines
            else "find out where it waits: py-spy dump, gdb -p, or SIGQUIT for Go"
        )
        detail = lines or tail(self.output())
        self.find("error", code, f"it runs, but {what}", cure, detail, node, author_frame(lines))

    def slow_imports(self, taken_s: float) -> tuple[str, ...]:
        """Start it again, with Python's import times, and return the slowest imports.

        *taken_s* is how long the first start took.
        """
        spent_us: Counter[str] = Counter()

        def count(stream: str, line: str) -> None:
            found = _IMPORT_TIME.match(line)
            if found is not None:
                spent_us[found[3].partition(".")[0]] += int(found[1])

        if self.file.python is not None:
            self._again("PYTHONPROFILEIMPORTTIME=1", self.version_timeout_s, count)
        slowest = [
            f"import {name}: {us / 1e6:.1f} s" for name, us in spent_us.most_common(3) if us > _SHORT_US
        ]
        rest_s = taken_s - spent_us.total() / 1e6
        if spent_us and rest_s > SLOW_S:
            slowest.append(f"code outside of imports: {rest_s:.1f} s")
        return tuple(slowest)

    def _again(self, variable: str, patience_s: float, log: Log | None = None) -> list[str]:
        """Start it with *variable* too, wait for its version up to *patience_s*, and abort it.

        Returns what it printed.
        """
        process = self._plugin(AnnouncementService(), more=variable, patience_s=patience_s, log=log)
        try:
            client = VMClient(process.start(), wait=process.wait)
            try:
                client.Version(Empty(), patience_s)
            finally:
                client.close()
        except (HandshakeFailed, StartFailed, PluginGone, grpc.RpcError):
            pass
        finally:
            abort(process)
            process.kill()
        return _readable(process.output)


def _readable(lines: Iterable[str]) -> list[str]:
    return [each for line in lines for each in readable(line)]
