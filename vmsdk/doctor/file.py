"""A plugin's file, inspected without running it."""

from __future__ import annotations

import errno
import os
import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vmsdk.doctor import format as formats
from vmsdk.doctor.finding import Finding, quoted
from vmsdk.doctor.user import User
from vmsdk.errors import VMError
from vmsdk.ids import ID
from vmsdk.install.installation import cache_of
from vmsdk.install.launcher import BUNDLE_LINE, Changed, Written
from vmsdk.install.plugindirectory import MAX_LAUNCHER_BYTES, stem, written
from vmsdk.target import SourceTarget, find

# The kernel reads this much of a `#!` line (BINPRM_BUF_SIZE).
_SHEBANG_BYTES = 256
# Where env(1) looks for commands: a plugin has no PATH.
_SEARCHED = ("/bin", "/usr/bin")
_SHELLS = ("sh", "ash", "bash", "dash", "ksh", "zsh")
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*")
# The executable behind a virtual environment's Python; t is for free-threaded.
_VERSIONED = re.compile(r"python(3\.\d+t?)")
NO_HANDSHAKE = "handshake failed: vm process not found"
"""What a node logs if the plugin doesn't announce itself."""
_PROXY = re.compile(rb"^\s*export\s+(?:https?|grpc|all)_proxy=", re.MULTILINE | re.IGNORECASE)
# The line of a vmsdk launcher that starts Python.
_EXEC = re.compile(r"^exec (.+) \"\$0\" \"\$@\"$", re.MULTILINE)


class Shebang(NamedTuple):
    """A `#!` line, as the kernel reads it."""

    line: str
    interpreter: str
    argument: str

    @property
    def command(self) -> str | None:
        """The command that `env` is to find; None if the interpreter isn't `env`."""
        if os.path.basename(self.interpreter) != "env":
            return None
        words = self.argument.split()
        return (words[1] if words[:1] == ["-S"] and len(words) > 1 else self.argument) or None

    @property
    def program(self) -> str | None:
        """The path of the program that runs in the end, if it can be found."""
        if self.command is None:
            return self.interpreter
        places = (os.path.join(each, self.command) for each in _SEARCHED)
        return next((each for each in places if os.access(each, os.X_OK)), None)


class PluginFile:
    """What can be seen of the plugin at *path*, for *user*."""

    def __init__(self, path: Path, user: User) -> None:
        self.path = path
        self.user = user
        self.launcher: Written | None = None
        """Its settings, if vmsdk wrote it."""
        self.changed = False
        """Whether it isn't as vmsdk wrote it."""
        self.head = b""
        """Its first bytes; empty if it can't be read or is not a regular file."""
        self.mode: int | None = None
        """The mode of the file, with links followed; None if there is none."""
        try:
            self.mode = path.stat().st_mode
            if stat.S_ISREG(self.mode):
                with path.open("rb") as file:
                    self.head = file.read(MAX_LAUNCHER_BYTES + 1)
            self.launcher = written(path)
        except Changed:
            self.changed = True
        except OSError:
            pass

    @property
    def shebang(self) -> Shebang | None:
        """Its `#!` line, if any."""
        if not self.head.startswith(b"#!"):
            return None
        line = self.head[:_SHEBANG_BYTES].partition(b"\n")[0].decode("utf-8", "replace")
        interpreter, _, argument = line[2:].strip(" \t").replace("\t", " ").partition(" ")
        return Shebang(line, interpreter, argument.strip())

    @property
    def python(self) -> str | None:
        """The path of the Python that runs it; None if it doesn't seem to be Python."""
        found = _EXEC.search(self.head.decode("utf-8", "replace")) if b"vmsdk-launcher" in self.head else None
        if found is not None:
            return next(iter(shlex.split(found[1])), None)
        shebang = self.shebang
        command = None if shebang is None else shebang.command or shebang.interpreter
        if shebang is None or command is None or not _PYTHON.match(os.path.basename(command)):
            return None
        return shebang.program

    @property
    def is_bundle(self) -> bool:
        """Whether `vmsdk bundle` wrote it."""
        return BUNDLE_LINE.search(self.head) is not None

    @property
    def source(self) -> SourceTarget | None:
        """The VM's source file, if vmsdk wrote the plugin."""
        if self.launcher is None or not self.launcher.target.startswith(os.sep):
            return None
        try:
            found = find(self.launcher.target)
        except (VMError, OSError):
            return None
        return found if isinstance(found, SourceTarget) else None

    # What is wrong whether or not it starts -------------------------------------------------------

    def findings(self) -> Iterator[Finding]:
        """Yield the file's problems, including those to come."""
        if self.mode is None or not stat.S_ISREG(self.mode):
            return
        if self.changed and self.is_bundle:
            yield Finding(
                "warning",
                "changed",
                str(self.path),
                "this bundle is damaged or was edited: it only starts if it was unpacked here before",
                "copy it again, and compare its SHA-256 with the original's",
            )
        elif self.changed:
            yield Finding(
                "note",
                "changed",
                str(self.path),
                "this file is not as vmsdk wrote it: it was edited, or damaged when it was copied",
                "move it away (vmsdk install doesn't do that), and copy or install it again",
            )
        yield from self._writable()
        yield from self._set_id()
        yield from self._line_endings()
        if self.shebang is not None and _PROXY.search(self.head) and b"no_proxy" not in self.head.lower():
            what = "it sets a proxy for itself, which gRPC also uses for the node's address, 127.0.0.1"
            yield Finding("warning", "proxy", str(self.path), what, "also set no_proxy=127.0.0.1")
        yield from self._python_findings()
        yield from self._source_findings()

    def _writable(self) -> Iterator[Finding]:
        source = self.source
        for path in (self.path, None if source is None else source.file):
            if path is not None and path.stat().st_mode & stat.S_IWOTH:
                yield Finding(
                    "warning",
                    "world-writable",
                    str(path),
                    "every user of this machine can change this file, and so run code as the node's user",
                    f"chmod o-w {quoted(path)}",
                )

    def _set_id(self) -> Iterator[Finding]:
        bits = (self.mode or 0) & (stat.S_ISUID | stat.S_ISGID)
        if bits and self.shebang is None:  # the kernel ignores them for scripts
            what = "its setuid or setgid bit is set, so it runs as its file's owner, not as the node's user"
            yield Finding("warning", "setuid", str(self.path), what, f"chmod ug-s {quoted(self.path)}")

    def _line_endings(self) -> Iterator[Finding]:
        shebang = self.shebang
        if shebang is not None and shebang.line.endswith("\r"):
            what = "its #! line ends in a carriage return, as on Windows, which Unix reads as part of a name"
            yield self._line_ending(1, what, shebang.line)

    def start_findings(self) -> Iterator[Finding]:
        """Yield what may explain that it does not start; other plugins with it do start."""
        shebang = self.shebang
        if shebang is None or shebang.line.endswith("\r"):
            return
        names = {os.path.basename(each) for each in (shebang.interpreter, shebang.command or "")}
        second = self._text.split("\n")[1:2]
        if names.intersection(_SHELLS) and second and second[0].endswith("\r"):
            what = "its lines end in carriage returns, as on Windows, which a shell reads as part of a word"
            yield self._line_ending(2, what, second[0])

    def _line_ending(self, number: int, what: str, line: str) -> Finding:
        cure = f"convert the line ends: sed -i 's/\\r$//' {quoted(self.path)}"
        if len(self._text.encode("utf-8")) < self.path.stat().st_size:
            cure = "convert the line ends of its text, and leave what follows it, or build it again on Unix"
        return Finding("error", "line-endings", f"{self.path}:{number}", what, cure, (line,))

    @property
    def _text(self) -> str:
        """The text at its beginning: an archive may follow a script."""
        head = self.head.partition(b"\0")[0]
        try:
            return head.decode("utf-8")
        except UnicodeDecodeError as error:
            return head[: error.start].decode("utf-8")

    def _python_findings(self) -> Iterator[Finding]:
        python = self.python
        if python is None:
            return
        tool = cache_of(Path(python))
        if tool is not None:
            yield Finding(
                "error",
                "cached-interpreter",
                str(self.path),
                f"its Python, {python}, is in {tool}'s cache, and is deleted when {tool} cleans its cache",
                "make an environment that stays (python3 -m venv /opt/NAME), install vmsdk and the VM's "
                "requirements there, and run its vmsdk install",
            )
        if self.launcher is not None and not os.path.exists(python):
            cure = f"install the VM again with the Python that it has now: {self._install}"
            what = _absent("the Python that this plugin runs", python)
            yield Finding("error", "no-interpreter", str(self.path), what, cure, node=NO_HANDSHAKE)
        found = self.user.barriers([Path(python)], os.X_OK)
        for barrier in found:
            yield self._barrier(barrier, f"to run its Python, {python}")
        prefix = Path(python).parent.parent
        yield from self._upgraded(python, prefix)
        packages = prefix.glob("lib/python*/site-packages/vmsdk/__init__.py")
        for barrier in self.user.barriers([prefix / "pyvenv.cfg", *packages]):
            if barrier not in found:
                yield self._barrier(barrier, f"to read the packages of its Python, {python}")

    def _upgraded(self, python: str, prefix: Path) -> Iterator[Finding]:
        """Find a virtual environment at *prefix* whose Python now has another version."""
        version = _VERSIONED.fullmatch(os.path.basename(os.path.realpath(python)))
        folders = [path.parent.name for path in prefix.glob("lib/python3.*/site-packages")]
        if version is None or not folders or not (prefix / "pyvenv.cfg").exists():
            return
        # A free-threaded Python also goes by a name without t, but its folder has it.
        if not {version[0], f"{version[0]}t"}.intersection(folders):
            what = f"the packages of its environment, {prefix}, are for {', '.join(sorted(folders))}, and its"
            what += f" Python has been upgraded to {version[1]}"
            cure = f"create the environment again (python3 -m venv --clear {quoted(prefix)}), and install"
            cure += " vmsdk and the VM's requirements there"
            yield Finding("error", "upgraded-python", str(self.path), what, cure, node=NO_HANDSHAKE)

    def _source_findings(self) -> Iterator[Finding]:
        if self.launcher is None or not self.launcher.target.startswith(os.sep):
            return
        source = self.source
        if source is None or source.file is None:
            file = self.launcher.target.rpartition(":")[0] or self.launcher.target
            yield Finding(
                "error",
                "no-source",
                str(self.path),
                _absent("the VM's source", file),
                "install the VM again from where its source is now",
                node="registering the VM fails: see vm-factory.log",
            )
            return
        files = [source.file]
        if source.root is not None:
            files += sorted(source.code.glob("*.py" if source.code == source.root else "**/*.py"))
        known = self.user.barriers([Path(self.python or "")], os.X_OK)
        for barrier in (each for each in self.user.barriers(files) if each not in known):
            yield self._barrier(barrier, f"to read the VM's source, {source.file}")

    @property
    def _install(self) -> str:
        target = "TARGET" if self.launcher is None else quoted(self.launcher.target)
        return f"vmsdk install {target} --plugin-dir {quoted(self.path.parent)}"

    def _barrier(self, barrier: Path, purpose: str) -> Finding:
        verb = "enter" if os.path.isdir(barrier) else "read"
        mode = stat.filemode(barrier.stat().st_mode)
        return Finding(
            "error",
            "unreadable",
            str(barrier),
            f"the user {self.user.name} can't {verb} {barrier} ({mode}) {purpose}",
            f"give {self.user.name} access (chmod o+{'x' if verb == 'enter' else 'r'} {quoted(barrier)}), or"
            " put Python and the VM where every user can read them, such as /opt, and install the VM from"
            " there",
            node=NO_HANDSHAKE,
        )

    # Why it can't be executed ---------------------------------------------------------------------

    def exec_failure(self, reason: str) -> Finding:
        """Return why the system can't execute it; *reason* is the system's own text."""
        found = next(self._causes(reason), None) or (
            "start-failed",
            f"the system can't execute this file: {reason}",
            "try it in a shell as the node's user",
        )
        code, what, cure = found
        shebang = self.shebang
        return Finding(
            "error",
            code,
            f"{self.path}:1" if shebang is not None else str(self.path),
            what,
            cure,
            () if shebang is None else (shebang.line,),
            node=f"failed to start process: fork/exec {self.path}: {reason[:1].lower()}{reason[1:]}",
        )

    def _causes(self, reason: str) -> Iterator[tuple[str, str, str]]:
        path, user = self.path, self.user
        if self.mode is not None and not stat.S_ISREG(self.mode):
            kind = "a directory" if stat.S_ISDIR(self.mode) else "a pipe, socket or device"
            yield "not-a-file", f"this is {kind}, not a file", "put the plugin's executable in its place"
        for barrier in user.barriers([path], os.X_OK):
            if os.path.isdir(barrier):
                yield (
                    "unreadable",
                    f"the user {user.name} can't enter {barrier}, which leads to this file",
                    f"chmod o+x {quoted(barrier)}, or put the plugin elsewhere",
                )
            elif not barrier.stat().st_mode & 0o111:
                yield from self._not_executable()
            elif os.statvfs(barrier).f_flag & getattr(os, "ST_NOEXEC", 0):
                yield from self._noexec()
            else:
                mode = stat.filemode(barrier.stat().st_mode)
                yield (
                    "not-executable",
                    f"the user {user.name} may not execute this file ({mode})",
                    f"chmod a+rx {quoted(path)}",
                )
        if self.mode is None:
            yield from self._absence()
            return
        if not self.mode & 0o111:
            yield from self._not_executable()
        if reason == os.strerror(errno.EACCES) and os.statvfs(path).f_flag & getattr(os, "ST_NOEXEC", 0):
            yield from self._noexec()
        yield from self._interpreter_causes(reason)
        if reason == os.strerror(errno.ENOEXEC):
            yield from formats.causes(self.head, self.path)
        if reason in _SYSTEM:
            yield _SYSTEM[reason]

    def _not_executable(self) -> Iterator[tuple[str, str, str]]:
        what, cure = "this file is not executable", f"chmod a+rx {quoted(self.path)}"
        if self.path.suffix == ".py" and b"vmsdk" in self.head and self.shebang is None:
            what = "this is Python source, which a node can't execute"
            cure = f"vmsdk install {quoted(self.path)} --plugin-dir DIR"
        yield "not-executable", what, cure

    def _noexec(self) -> Iterator[tuple[str, str, str]]:
        mount = self.path.resolve()
        # A bind mount has the same device as its source.
        while not os.path.ismount(mount) and os.statvfs(mount.parent).f_flag & getattr(os, "ST_NOEXEC", 0):
            mount = mount.parent
        yield (
            "noexec",
            f"the file system at {mount} is mounted noexec: nothing there can be executed",
            f"put the plugin directory elsewhere (--plugin-dir), or: mount -o remount,exec {quoted(mount)}",
        )

    def _absence(self) -> Iterator[tuple[str, str, str]]:
        if os.path.islink(self.path):
            link, target = broken_link(self.path)
            problem = "leads into a loop" if target is None else f"leads to {target}, which does not exist"
            yield (
                "broken-link",
                f"the symbolic link {link} {problem}",
                "install the plugin again, or remove the link",
            )
        for folder in reversed(self.path.absolute().parents):
            if not os.path.lexists(folder):
                yield (
                    "missing",
                    f"there is no directory {folder}",
                    "check the path: ls " + quoted(folder.parent),
                )
                return
        cure = f"install the plugin: {self._install}"
        if not _is_vm_id(stem(self.path.name)):
            cure += f"; or make the directory: mkdir -p {quoted(self.path)}"
        yield "missing", "there is no such file or directory", cure

    def _interpreter_causes(self, reason: str) -> Iterator[tuple[str, str, str]]:
        interpreter, named = formats.elf_interpreter(self.head), "its dynamic loader"
        shebang = self.shebang
        if shebang is not None:
            interpreter, named = shebang.interpreter, "the interpreter of its #! line"
            if len(shebang.line) >= _SHEBANG_BYTES:
                yield (
                    "long-shebang",
                    f"its #! line has over {_SHEBANG_BYTES - 1} bytes, which is the kernel's limit",
                    _SHORTER,
                )
            if not interpreter:
                yield (
                    "no-interpreter",
                    "its #! line names no interpreter",
                    "write one, such as #!/usr/bin/env python3",
                )
            elif not os.path.isabs(interpreter):
                yield (
                    "no-interpreter",
                    f"{named}, {interpreter}, is not an absolute path",
                    "write the whole path",
                )
        if not interpreter:
            return
        if not os.path.exists(interpreter):
            cure = (
                "install it, or build the plugin for this system (a musl binary needs musl, or build it"
                " static)"
            )
            if shebang is not None:
                cure = "name one that exists, or install it"
                if " " in shebang.line[2:].strip() and os.path.exists(shebang.line[2:].strip()):
                    cure = "the kernel ends the path at its space: use a path without spaces"
            yield "no-interpreter", _absent(named, interpreter), cure
        elif not os.path.isfile(interpreter):
            yield (
                "no-interpreter",
                f"{named}, {interpreter}, is not a file",
                "name the interpreter's executable",
            )
        elif not self.user.may(interpreter, os.X_OK):
            barrier = next(iter(self.user.barriers([Path(interpreter)], os.X_OK)), interpreter)
            yield (
                "unreadable",
                f"the user {self.user.name} can't execute {named}, {interpreter}",
                f"chmod o+rx {quoted(barrier)}",
            )


_SHORTER = "use a shorter path, or a #!/bin/sh script that starts the program by exec"
_BUSY = "wait until it is copied, or copy it elsewhere on this disk and mv it here, which is atomic"
_SYSTEM = {
    os.strerror(errno.ETXTBSY): ("busy", "another process is still writing this file", _BUSY),
    os.strerror(errno.EAGAIN): (
        "process-limit",
        "the user has as many processes and threads as its limit allows",
        "raise it (LimitNPROC= in the node's unit, ulimit -u, or the cgroup's pids.max)",
    ),
    os.strerror(errno.ENOMEM): (
        "memory",
        "there is not enough memory to start it",
        "free memory, or raise the limit",
    ),
    os.strerror(errno.ELOOP): (
        "broken-link",
        "the symbolic links to this file form a loop",
        "remove them, and install the plugin again",
    ),
    os.strerror(errno.EACCES): (
        "forbidden",
        "the system forbids executing this file, although its permissions allow it",
        "look for SELinux or AppArmor: ausearch -m avc, dmesg",
    ),
}


def broken_link(path: Path) -> tuple[Path, Path | None]:
    """Follow the links from *path*; return the last one, and where it leads: None in a loop."""
    seen: list[Path] = []
    while os.path.islink(path):
        if path in seen:
            return seen[-1], None
        seen.append(path)
        path = Path(os.path.normpath(path.parent / os.readlink(path)))
    return (seen[-1] if seen else path), path


def _absent(named: str, path: str) -> str:
    """Describe a file that a plugin needs and that isn't there."""
    what = f"{named}, {path}, does not exist"
    place = next((each for each in (Path(path), *Path(path).parents) if os.path.islink(each)), None)
    if place is not None:
        link, target = broken_link(place)
        if target is not None and not os.path.exists(target):
            what += f": {link} is a symbolic link to {target}, which is gone"
    return what


def _is_vm_id(name: str) -> bool:
    try:
        ID.from_string(name)
    except VMError:
        return False
    return True
