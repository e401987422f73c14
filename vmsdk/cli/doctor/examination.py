"""One run of `vmsdk doctor`, and its report."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType

from vmsdk.doctor import machine
from vmsdk.doctor.directory import PluginFolder, aliases, vm_of, wrong_name
from vmsdk.doctor.file import PluginFile
from vmsdk.doctor.finding import Finding, coloured, plain, worst
from vmsdk.doctor.machine import LIMITS, exceeds, hard_limit, own_limits
from vmsdk.doctor.node import (
    Node,
    find,
    is_hidden,
    nodes_on_path,
    running,
    running_nodes,
    usual_directories,
)
from vmsdk.doctor.start import Start
from vmsdk.doctor.trial import Outcome, Trial
from vmsdk.doctor.user import User, name_of
from vmsdk.errors import VMError
from vmsdk.host.spawn import Surroundings
from vmsdk.ids import ID

_FAULTY_STATUS, _USAGE_STATUS, _ERROR_STATUS = 1, 2, 3


@dataclass
class _Plugin:
    """One plugin's report."""

    path: Path
    vm: ID | None
    outcome: Outcome = field(default_factory=Outcome)
    findings: list[Finding] = field(default_factory=list)


def run(args: argparse.Namespace) -> int:
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        return _run(args)
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(args: argparse.Namespace) -> int:
    try:
        try:
            os.getcwd()
        except FileNotFoundError:
            raise VMError("the current folder was deleted: cd to one that exists") from None
        if sys.platform == "win32":
            raise VMError(
                "use Linux or macOS: Windows lacks the users, permissions and signals that nodes rely on"
            )
        node = None if args.node is None else find(args.node)
        user = _user(args.user, node)
        if args.cwd is not None and not os.path.isdir(args.cwd):
            raise VMError(f"--cwd: {args.cwd} is not a directory")
        doctor = _Doctor(args, node, user)
    except (VMError, ValueError) as error:
        print(f"vmsdk doctor: {error}", file=sys.stderr)
        return _USAGE_STATUS
    return doctor.run()


class _Doctor:
    """One run of the command."""

    def __init__(self, args: argparse.Namespace, node: Node | None, user: User) -> None:
        self.args = args
        self.node = node
        self.user = user
        self.environment = os.environ if node is None or node.environment is None else node.environment
        inherited = (
            Surroundings(directory="/", umask=0o022, limits=own_limits())
            if node is None or node.pid is None
            else node.surroundings
        )
        for number, limit in args.limit:
            hard = hard_limit(number, limit[1])
            if hard != limit[1]:
                raise VMError(
                    f"--limit: {limit[1]} is above this process's hard limit, {hard} (-1: unlimited)"
                )
        me = User.current()
        self.findings: list[Finding] = []
        limits = {number: self._attainable(number, limit) for number, limit in inherited.limits}
        self.surroundings = Surroundings(
            None if user.uid == me.uid else (user.uid, user.gid, list(user.groups)),
            str(args.cwd.absolute()) if args.cwd is not None else inherited.directory,
            inherited.umask if args.umask is None else args.umask,
            tuple({**limits, **dict(args.limit)}.items()),
        )
        self.plugins: list[_Plugin] = []
        self.crashed = False
        # Standard output is None if the caller closed it, to use only the exit status.
        is_terminal = sys.stdout is not None and sys.stdout.isatty()
        self.paint = coloured if is_terminal and not args.json and not os.environ.get("NO_COLOR") else plain

    def run(self) -> int:
        """Examine everything, and print the report."""
        self._print(self._heading())
        for each in self.findings:
            self._print(each.text(self.paint))
        self._guard("this machine", self._machine)
        paths: list[Path] = [] if self.args.path is None else [self.args.path]
        if self.args.path is None:
            self._guard("the nodes", lambda: paths.extend(self._usual_directories()))
        for path in paths:
            self._guard(str(path), partial(self._path, path))
        return self._finish(paths)

    def _machine(self) -> None:
        if self.args.path is None:
            for name, value in machine.description().items():
                self._print(f"{name}: {value}")
            self._report(machine.own_findings())
        self._report(machine.findings(self.user, self.surroundings, self.environment, self.args.path))

    def _usual_directories(self) -> list[Path]:
        # With --node and --as, the user has chosen who runs which node's plugins.
        found = [] if self.node is None else self._of(self.node, chosen=self.args.user is not None)
        for pid in [] if self.node is not None else sorted(running_nodes()):
            try:
                node = running(pid, named=False)
            except VMError as error:
                self._print(f"node: process {pid}: {error}")
                continue
            self._print(
                f"node: {node.name}, process {pid}, user {node.user.name if node.user else '?'}: vmsdk doctor"
                f" --node {pid}"
            )
            found += self._of(node, chosen=False)
        for path in nodes_on_path():
            self._print(f"node: {path}: vmsdk doctor --node {path}")
        is_me = self.user.uid == os.geteuid()
        home = os.environ.get("HOME") if is_me else self.user.home()
        for usual in usual_directories(home, os.environ):
            owner = usual.stat().st_uid
            if self.user.uid == 0 and owner != 0:  # sudo may keep HOME
                self._report([self._not_started(str(usual), name_of(owner))])
            else:
                found.append(usual)
        if not found:
            self._print("no plugin directory found: name it, as in vmsdk doctor ~/.metalgo/plugins")
        return list(dict.fromkeys(found))

    def _of(self, node: Node, *, chosen: bool) -> list[Path]:
        """Return the plugin directories of *node*, whose plugins only its own user may run."""
        if chosen or node.user is None or node.user.uid == self.user.uid:
            return list(node.directories)
        self._report([self._not_started(f"process {node.pid}", node.user.name, node.pid)])
        return []

    def _not_started(self, where: str, owner: str, pid: int | None = None) -> Finding:
        return Finding(
            "note",
            "other-user",
            where,
            f"this belongs to the user {owner}, so nothing of it was started as {self.user.name}",
            f"sudo vmsdk doctor --as {owner}" + ("" if pid is None else f" --node {pid}"),
        )

    def _attainable(self, number: int, limit: tuple[int, int]) -> tuple[int, int]:
        """Return a node's *limit*, or ours if this process may not set that."""
        import resource

        hard = hard_limit(number, limit[1])
        if hard == limit[1]:
            return limit
        soft = hard if exceeds(limit[0], hard) else limit[0]
        self.findings.append(
            Finding(
                "note",
                "limit",
                next(name for name in LIMITS if getattr(resource, f"RLIMIT_{name}") == number),
                f"the node's limits {limit} are above this process's hard limit, so plugins were given"
                f" {(soft, hard)} (-1: unlimited)",
                "none needed; for the same limits: sudo vmsdk doctor",
            )
        )
        return soft, hard

    def _path(self, path: Path) -> None:
        path = path.absolute()
        if self.node is not None and self.node.pid is not None and is_hidden(self.node.pid, path):
            self._report([_hidden(path, self.node.pid)])
        if not os.path.isdir(path) and (os.path.lexists(path) or os.path.isdir(path.parent)):
            self._single(path)
            return
        self._print(f"\n{path}:")
        folder = PluginFolder(path, self.user)
        self._report(folder.findings)
        if os.path.isdir(path):
            self._report(self._other_owner(path))
        for file, vm in folder.plugins:
            self._guard(str(file), partial(self._plugin, file, vm, []))

    def _single(self, path: Path) -> None:
        known: Mapping[str, ID] = {}
        names: list[str] = []
        with suppress(VMError, OSError):
            known = aliases(path.parent)
            names = os.listdir(path.parent)
        vm = vm_of(path, known)
        findings: list[Finding] = []
        if vm is None and os.path.lexists(path):
            found = wrong_name(PluginFile(path, self.user))
            if path.parent.name == "plugins" or any(vm_of(Path(each), known) for each in names):
                findings.append(found)
            elif os.access(path, os.X_OK):  # such as a program that was just built
                what = f"in a plugin directory, {found.what}"
                findings.append(Finding("note", found.code, found.where, what, found.cure))
        self._plugin(path, vm, [*findings, *self._other_owner(path.parent)])

    def _other_owner(self, directory: Path) -> Iterator[Finding]:
        if self.user.uid == 0 and self.args.user is None and (owner := directory.stat().st_uid) != 0:
            name = name_of(owner)
            yield Finding(
                "note",
                "root",
                str(directory),
                f"this was examined as root, who may access everything; the directory belongs to {name}",
                f"if {name} runs the node: vmsdk doctor --as {name}",
            )

    def _plugin(self, path: Path, vm: ID | None, findings: list[Finding]) -> None:
        file = PluginFile(path, self.user)
        plugin = _Plugin(path, vm, findings=[*findings, *file.findings()])
        self.plugins.append(plugin)
        # Without its devices, gRPC would end this program, too; nothing works without 127.0.0.1.
        can_start = not any(each.code in ("no-device", "no-loopback") for each in self.findings)
        starts = file.mode is not None and can_start and not self.args.no_start
        if starts:
            trial = Trial(file, self.surroundings, self.environment)
            plugin.outcome = Start(trial, None if self.node is None else self.node.protocol).run()
            known = {each.code for each in plugin.findings if each.severity == "error"}
            # Findings about files explain why it didn't start.
            explained = bool(known & {"no-interpreter", "no-source", "unreadable", "line-endings"})
            plugin.findings += [
                each
                for each in plugin.outcome.findings
                if not (explained and each.severity == "error" and plugin.outcome.version is None)
            ]
            if plugin.outcome.version is None and not explained:
                plugin.findings += file.start_findings()
        elif file.mode is None:
            plugin.findings.append(file.exec_failure(os.strerror(2)))
        self._print(f"\n{self._summary(plugin)}")
        for each in plugin.findings:
            self._print(each.text(self.paint))

    # Output ---------------------------------------------------------------------------------------

    def _heading(self) -> str:
        node = "a node" if self.node is None else self.node.name
        if self.node is not None and self.node.protocol is not None:
            node += f" (protocol {self.node.protocol})"
        umask = "" if self.surroundings.umask is None else f", umask {self.surroundings.umask:03o}"
        return (
            f"vmsdk doctor: as {node} of the user {self.user.name}{umask}, in {self.surroundings.directory}"
        )

    def _summary(self, plugin: _Plugin) -> str:
        outcome = plugin.outcome
        faulty = worst(plugin.findings) == "error"
        state = "faulty" if faulty else "ok" if outcome.timings_s else "not started"
        words = [f"{plugin.path.name}: {state}"]
        words += [] if outcome.version is None else [f"version {outcome.version or '(empty)'}"]
        words += [] if outcome.protocol is None else [f"protocol {outcome.protocol}"]
        times = ", ".join(f"{name} {taken_s:.2f} s" for name, taken_s in outcome.timings_s.items())
        return ", ".join(words) + (f" ({times})" if times else "")

    def _report(self, findings: Iterable[Finding]) -> None:
        for each in findings:
            self.findings.append(each)
            self._print(each.text(self.paint))

    def _guard(self, what: str, action: Callable[[], None]) -> None:
        """Run *action*: a bug in vmsdk must not hide other findings."""
        try:
            action()
        except Exception as error:  # noqa: BLE001 - reported, with the place
            self.crashed = True
            lines = tuple(traceback.format_exception(error)[-1].strip().splitlines()[-1:])
            frame = traceback.extract_tb(error.__traceback__)[-1]
            self._report(
                [
                    Finding(
                        "error",
                        "internal",
                        what,
                        f"vmsdk doctor itself failed here ({frame.filename}:{frame.lineno})",
                        "please report it",
                        lines,
                    )
                ]
            )

    def _finish(self, paths: list[Path]) -> int:
        everything = [*self.findings, *(each for plugin in self.plugins for each in plugin.findings)]
        status = _FAULTY_STATUS if worst(everything) == "error" else 0
        if self.crashed:
            status = _ERROR_STATUS
        if self.args.json:
            print(json.dumps(self._json(paths, status), indent=2))
            return status
        counts = [sum(each.severity == kind for each in everything) for kind in ("error", "warning", "note")]
        words = ", ".join(
            f"{n} {kind}{'' if n == 1 else 's'}"
            for n, kind in zip(counts, ("error", "warning", "note"), strict=True)
        )
        print(f"\n{len(self.plugins)} plugin{'' if len(self.plugins) == 1 else 's'}: {words}")
        return status

    def _json(self, paths: list[Path], status: int) -> dict[str, object]:
        return {
            "status": status,
            "machine": machine.description(),
            "node": (
                None
                if self.node is None
                else {"name": self.node.name, "protocol": self.node.protocol, "pid": self.node.pid}
            ),
            "user": self.user.name,
            "paths": [str(each) for each in paths],
            "findings": [asdict(each) for each in self.findings],
            "plugins": [
                {
                    "path": str(each.path),
                    "vm_id": None if each.vm is None else str(each.vm),
                    "version": each.outcome.version,
                    "protocol": each.outcome.protocol,
                    "address": each.outcome.address,
                    "timings_s": each.outcome.timings_s,
                    "findings": [asdict(found) for found in each.findings],
                }
                for each in self.plugins
            ],
        }

    def _print(self, text: str) -> None:
        if not self.args.json:
            print(text, flush=True)


def _hidden(path: Path, pid: int) -> Finding:
    return Finding(
        "error",
        "hidden",
        str(path),
        f"the node, process {pid}, does not see this, or sees something else in its place: its unit hides"
        " it (ProtectHome=, PrivateTmp=, InaccessiblePaths=), or it was mounted after the node's start",
        "use a plugin directory that the node sees, such as /var/lib/metalgo/plugins (--plugin-dir), change"
        " the unit, or restart the node",
        node="the plugin directory is not found, or looks empty",
    )


def _user(name: str | None, node: Node | None) -> User:
    me = User.current()
    user = (
        User.called(name)
        if name is not None
        else (node.user if node is not None and node.user is not None else me)
    )
    if user.uid != me.uid and me.uid != 0:
        if name is None:
            return me
        raise VMError(f"--as {name} needs root: sudo vmsdk doctor --as {name}")
    return user


def _terminated(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
