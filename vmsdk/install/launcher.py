"""The launcher, the file that a node runs to start a VM: written, and read back.

A node runs it without arguments, and with the engine's address as the only environment variable. So
the file has the settings that Python needs before it starts: UTF-8, unbuffered streams, the hash
seed. A `#!` line can't have them: it allows one argument, no variable, no space in the
interpreter's path, and on some systems only 127 bytes. `/bin/sh` costs 1 ms; starting Python twice
would cost 20 ms. The shell replaces itself by Python (exec), so the node watches, signals and reads
one process.

Python then runs the same file, which is valid in both languages: the shell stops reading at `exec`,
and to Python everything up to there is a string. Python compiles a file without `.py` at each
start, so the file has little code; the rest is in modules, whose bytecode is cached.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from vmsdk._version import __version__
from vmsdk.address import TRANSPORTS, Transport
from vmsdk.errors import VMError
from vmsdk.runtime.logrecords import LogFormat, check_format, level_number
from vmsdk.target import SourceTarget

_CHECKSUM_LINE = re.compile(rb"^# vmsdk-launcher sha256:([0-9a-f]*)\n", re.MULTILINE)
# Of a bundle: the fields of `Written` as JSON.
BUNDLE_LINE = re.compile(rb"^# vmsdk-bundle (\{.*\})\n", re.MULTILINE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# An idle VM needs 130 MiB, mostly for the stacks of 13 threads. Under load it has up to 50 threads.
MIN_MEMORY_BYTES = 512 * 1024**2
_RESERVED = ("PYTHONHASHSEED", "AVALANCHE_VM_RUNTIME_ENGINE_ADDR")

_TEXT = """\
#!/bin/sh
# The plugin of the VM {name!r}, written by vmsdk {version}. Don't edit it, install it again.
# vmsdk-launcher sha256:
sh=r\'\'\'\'
# The shell reads up to exec; for Python, which takes over there, this is a string up to the quotes.
if [ ! -x {python} ]; then
  printf '%s\\n' {gone} >&2
  exit 127
fi
{settings}exec {python} {flags} "$0" "$@"
\'\'\'

{python_code}"""

_PYTHON_CODE = """\
import gc
import sys

if __name__ == "__main__":
    gc.disable()  # imports create many objects and little garbage
{path}
    from {entry} import launch

    gc.freeze()  # collections need not examine them
    gc.enable()
    launch(
{arguments}    )
else:  # in a process that the VM has started by multiprocessing
    from vmsdk.runtime.children import end_with_plugin

    end_with_plugin()
"""

# A crash of an extension module leaves its stack in the log (faulthandler).
FLAGS = ("-X", "utf8", "-X", "faulthandler", "-u")


class InstallError(VMError):
    """A VM can't be installed or removed. Nothing was changed."""


@dataclass(frozen=True)
class Launcher:
    """The settings of a launcher. Raises `InstallError` if one is invalid."""

    name: str
    """The VM's name, which determines its ID."""
    target: SourceTarget
    """What to serve."""
    python: str = os.path.abspath(sys.executable)
    """The interpreter, an absolute path; by default, this one."""
    path: tuple[str, ...] = ()
    """Folders to prepend to the interpreter's `sys.path`."""
    install_command: str = ""
    """The command that writes it, without the protocol version, for messages."""
    protocol: int | None = None
    """The protocol version to speak; None for the node's."""
    ask_parent: bool = True
    """Whether to ask the node for its version."""
    log_level: str = "INFO"
    """A level of `logging` or of a node."""
    log_format: LogFormat = "plain"
    transport: Transport = "auto"
    """How the node reaches the VM."""
    memory_limit_bytes: int | None = None
    """The limit of the process's data."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables for the process."""
    hash_seed: int = 0
    """Python's seed for the hashes of strings: the same on all nodes."""
    flags: tuple[str, ...] = ()
    """More options of the interpreter."""
    entry: str = "vmsdk.serving"
    """The module with the function `launch`."""

    def __post_init__(self) -> None:
        for what, value in self._texts():
            if "\0" in value:
                raise InstallError(f"{what} {value!r} contains a zero byte")
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                raise InstallError(f"{what} {value!r} is not valid UTF-8: rename it") from None
        try:
            level_number(self.log_level)
            check_format(self.log_format)
        except ValueError as error:
            raise InstallError(str(error)) from None
        if self.transport not in TRANSPORTS:
            raise InstallError(f"{self.transport!r} is not a transport: use {', '.join(TRANSPORTS)}")
        if self.memory_limit_bytes is not None and self.memory_limit_bytes < MIN_MEMORY_BYTES:
            raise InstallError(
                f"a memory limit of {self.memory_limit_bytes} bytes is too low: a VM needs at least "
                f"{MIN_MEMORY_BYTES}"
            )
        for name in self.environment:
            if not _VARIABLE.fullmatch(name):
                raise InstallError(
                    f"{name!r} is not a valid variable name: use letters, digits and _, no digit first"
                )
            if name in _RESERVED:
                raise InstallError(f"the variable {name!r} is reserved: vmsdk or the node sets it")

    def _texts(self) -> list[tuple[str, str]]:
        return [
            ("the name", self.name),
            ("the target", self.target.absolute),
            ("the interpreter", self.python),
            *(("the folder", each) for each in self.path),
            *((f"the value of {name},", value) for name, value in self.environment.items()),
        ]

    def to_bytes(self) -> bytes:
        """Return the file's content, which depends only on the settings."""
        again = self.install_command
        if self.protocol is not None:
            again += f" --protocol {self.protocol}"
        elif not self.ask_parent:
            again += " --no-ask"
        gone = f"vmsdk: Python is no longer at {self.python}. Install {self.name} again: {again}"
        path = f"    sys.path[:1] = {list(self.path)}  # in place of the plugin directory"
        text = _TEXT.format(
            name=self.name,
            version=__version__,
            python=shlex.quote(self.python),
            flags=" ".join((*FLAGS, *self.flags)),
            gone=shlex.quote(gone),
            settings=self.settings(),
            python_code=self.python_code(path),
        )
        return with_checksum(text.encode("utf-8"))

    def write(self, file: Path) -> list[str]:
        """Write it to *file*, and return the argv that starts it."""
        file.write_bytes(self.to_bytes())
        return ["/bin/sh", str(file)]  # a temporary directory may be mounted noexec

    def settings(self) -> str:
        """Return the shell's lines for the memory limit and the environment."""
        limit = "" if self.memory_limit_bytes is None else f"ulimit -d {self.memory_limit_bytes // 1024}\n"
        exports = {"PYTHONHASHSEED": str(self.hash_seed), **self.environment}
        return limit + "".join(f"export {name}={shlex.quote(value)}\n" for name, value in exports.items())

    def python_code(self, path: str, **others: object) -> str:
        """Return the Python code. *path* sets `sys.path`, *others* replace arguments."""
        arguments: dict[str, object] = {
            "name": self.name,
            "target": self.target.absolute,
            "module": self.target.module,
            "file": None if self.target.file is None else str(self.target.file),
            "attribute": self.target.attribute,
            "root": None if self.target.root is None else str(self.target.root),
            "protocol": self.protocol,
            "ask_parent": self.ask_parent,
            "log_level": self.log_level,
            "log_format": self.log_format,
            "transport": self.transport,
            "install_command": self.install_command,
        } | others
        return _PYTHON_CODE.format(
            path=path,
            entry=self.entry,
            arguments="".join(f"        {name}={value!r},\n" for name, value in arguments.items()),
        )


@dataclass(frozen=True)
class Written:
    """What can be read back from a launcher."""

    name: str
    target: str
    protocol: int | None
    """The fixed protocol version, or None."""
    ask_parent: bool
    """Whether it asks the node for its version."""


class Changed(Exception):
    """A launcher was edited after vmsdk wrote it."""


def recognise(data: bytes) -> Written | None:
    """Parse the launcher *data*. Returns None if it isn't one. Raises `Changed`."""
    found = _CHECKSUM_LINE.search(data)
    if found is None:
        return None
    if found[1].decode() != _checksum(data):
        raise Changed
    try:
        if (bundle := BUNDLE_LINE.search(data)) is not None:
            return Written(**json.loads(bundle[1]))
        calls = (each for each in ast.walk(ast.parse(data)) if isinstance(each, ast.Call) and each.keywords)
        given = {each.arg: each.value for each in next(calls).keywords}
        return Written(**{each.name: ast.literal_eval(given[each.name]) for each in fields(Written)})
    except (SyntaxError, TypeError, ValueError, LookupError, StopIteration):
        return None


def with_checksum(data: bytes) -> bytes:
    """Return *data* with its checksum filled in."""
    return _CHECKSUM_LINE.sub(f"# vmsdk-launcher sha256:{_checksum(data)}\n".encode(), data, count=1)


def _checksum(data: bytes) -> str:
    return hashlib.sha256(_CHECKSUM_LINE.sub(b"", data, count=1)).hexdigest()
