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
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType

from vmsdk.doctor import machine
from vmsdk.doctor.directory import PluginFolder, aliases, vm_of, wrong_name
from vmsdk.doctor.file import PluginFile
from vmsdk.doctor.finding import Finding, coloured, plain, worst
from vmsdk.doctor.node import Node, find, limits_of, running, running_nodes
from vmsdk.doctor.start import Played, Start
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
    played: Played = field(default_factory=Played)
    findings: list[Finding] = field(default_factory=list)


def run(args: argparse.Namespace) -> int:
    """Run the command, and return its exit status."""
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
                "Windows has no users, permissions and signals as nodes know them: use Linux or macOS"
            )
        node = None if args.node is None else find(args.node)
        user = _user(args.user, node)
        if args.cwd is not None and not os.path.isdir(args.cwd):
            raise VMError(f"--cwd: {args.cwd} is not a directory")
        doctor = _Doctor(args, node, user)
    except VMError as error:
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
            Surroundings(directory="/", umask=0o022, limits=_own_limits())
            if node is None or node.pid is None
            else node.surroundings
        )
        me = User.current()
        self.surroundings = Surroundings(
            None if user.uid == me.uid else (user.uid, user.gid, list(user.groups)),
            str(args.cwd.absolute()) if args.cwd is not None else inherited.directory,
            inherited.umask if args.umask is None else args.umask,
            tuple({**dict(inherited.limits), **dict(args.limit)}.items()),
        )
        self.findings: list[Finding] = []
        self.plugins: list[_Plugin] = []
        self.crashed = False
        is_terminal = not args.json and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self.paint = coloured if is_terminal else plain

    def run(self) -> int:
        """Examine everything, and print the report."""
        self._print(self._heading())
        self._guard("this machine", self._machine)
        paths = [self.args.path] if self.args.path is not None else self._usual_directories()
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
        found = [] if self.node is None else list(self.node.directories)
        for pid in [] if self.node is not None else sorted(running_nodes()):
            try:
                node = running(pid)
            except VMError as error:
                self._print(f"node: process {pid}: {error}")
                continue
            self._print(
                f"node: {node.name}, process {pid}, user {node.user.name if node.user else '?'}: vmsdk doctor"
                f" --node {pid}"
            )
            found += node.directories
        for path in machine.nodes_on_path():
            self._print(f"node: {path}: vmsdk doctor --node {path}")
        found += machine.usual_directories(os.environ.get("HOME"), os.environ)
        if not found:
            self._print("no plugin directory found: name it, as in vmsdk doctor ~/.metalgo/plugins")
        return list(dict.fromkeys(found))

    def _path(self, path: Path) -> None:
        path = path.absolute()
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
                f"this was examined as root, who may do everything; the directory belongs to {name}",
                f"if {name} runs the node: vmsdk doctor --as {name}",
            )

    def _plugin(self, path: Path, vm: ID | None, findings: list[Finding]) -> None:
        file = PluginFile(path, self.user)
        plugin = _Plugin(path, vm, findings=[*findings, *file.findings()])
        self.plugins.append(plugin)
        starts = file.mode is not None and not self.args.no_start
        if starts:
            plugin.played = Start(
                file, self.surroundings, self.environment, None if self.node is None else self.node.protocol
            ).play()
            known = {each.code for each in plugin.findings if each.severity == "error"}
            # What files show explains why it didn't start.
            explained = bool(known & {"no-interpreter", "no-source", "unreadable"})
            plugin.findings += [
                each
                for each in plugin.played.findings
                if not (explained and each.severity == "error" and plugin.played.version is None)
            ]
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
        played = plugin.played
        ok = worst(plugin.findings) != "error"
        words = [f"{plugin.path.name}: {'ok' if ok else 'faulty'}"]
        words += [] if played.version is None else [f"version {played.version or '(empty)'}"]
        words += [] if played.protocol is None else [f"protocol {played.protocol}"]
        times = ", ".join(f"{name} {taken_s:.2f} s" for name, taken_s in played.timings_s.items())
        return ", ".join(words) + (f" ({times})" if times else "")

    def _report(self, findings: Iterable[Finding]) -> None:
        for each in findings:
            self.findings.append(each)
            self._print(each.text(self.paint))

    def _guard(self, what: str, action: Callable[[], None]) -> None:
        """Run *action*: an error of ours in one place must not hide what is wrong in others."""
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
            "findings": [each.to_json() for each in self.findings],
            "plugins": [
                {
                    "path": str(each.path),
                    "vm_id": None if each.vm is None else str(each.vm),
                    "version": each.played.version,
                    "protocol": each.played.protocol,
                    "address": each.played.address,
                    "timings_s": each.played.timings_s,
                    "findings": [found.to_json() for found in each.findings],
                }
                for each in self.plugins
            ],
        }

    def _print(self, text: str) -> None:
        if not self.args.json:
            print(text, flush=True)


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


def _own_limits() -> tuple[tuple[int, tuple[int, int]], ...]:
    """Return this process's limits, and raise its own of open files: it needs some itself."""
    limits = limits_of(0)
    if sys.platform != "win32":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return limits


def _terminated(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
