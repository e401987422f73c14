"""The launcher: the file that a node runs to start a VM, as text and back.

A node runs it with no arguments, and with none of its own environment but the engine's address. So
all that Python must know before it starts has to be in the file: UTF-8, unbuffered streams, the
hash seed. A `#!` line holds one argument at most, no space in the interpreter's path, on some
systems no more than 127 bytes, and no variable; but without a variable there is no fixed hash seed.
Python could start itself again, which would cost some 20 ms; `/bin/sh`, which every Unix has there,
costs 1 ms. It replaces itself by Python (exec), so that the process which the node watches, signals
and reads from stays the same one.

Python then runs the same file, which is a program in both languages: to the shell what comes before
`exec` is all there is; to Python that is a string. It has nothing to compile but one call, since a
file without `.py` is compiled at each start: all else is in modules, whose compiled form is kept.
"""

from __future__ import annotations

import ast
import hashlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from vmsdk._version import __version__
from vmsdk.address import TRANSPORTS, Transport
from vmsdk.install.errors import NotWritable

_CHECKSUM_LINE = re.compile(rb"^# vmsdk-launcher sha256:([0-9a-f]*)\n", re.MULTILINE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# An idle VM has 130 MiB, most of it the stacks of 13 threads, of which there are up to 50 under load.
MIN_MEMORY_BYTES = 512 * 1024**2
_RESERVED = ("PYTHONHASHSEED", "AVALANCHE_VM_RUNTIME_ENGINE_ADDR")

_TEXT = """\
#!/bin/sh
# The plugin of the VM {name!r}, written by vmsdk {version}. Don't edit it: install it again.
# vmsdk-launcher sha256:
sh=r\'\'\'\'
# For a shell this is a script up to exec, by which Python takes over; for Python a string up to the quotes.
if [ ! -x {python} ]; then
  printf '%s\\n' {gone} >&2
  exit 127
fi
{limit}{exports}exec {python} -X utf8 -u "$0" "$@"
\'\'\'

import sys

sys.path[:1] = {path}  # in place of the plugin directory
from vmsdk.launch import launch

launch(
{arguments})
"""


@dataclass(frozen=True)
class Launcher:
    """What a launcher does. Raises `NotWritable` for a setting that can't stand in it."""

    name: str
    """The VM's name, of which its ID is made."""
    target: str
    """What to serve: a file by its absolute path or a module, with or without `:Class`."""
    python: str
    """The interpreter, an absolute path."""
    path: tuple[str, ...] = ()
    """Folders that come before the interpreter's own `sys.path`."""
    install_command: str = ""
    """What a person types to write it, but for the protocol version: for messages."""
    protocol: int | None = None
    """The protocol version to speak; None to let the node say."""
    ask_parent: bool = True
    """Whether to ask the node, if no version is given."""
    log_level: str = "INFO"
    """Of the standard `logging`."""
    transport: Transport = "auto"
    """How the node reaches the VM."""
    memory_limit_bytes: int | None = None
    """How much memory the process may have for its data, in bytes."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that the process gets."""

    def __post_init__(self) -> None:
        for what, value in self._texts():
            if "\0" in value:
                raise NotWritable(what, value, "holds a zero byte")
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                raise NotWritable(what, value, "is not valid UTF-8: call it something else") from None
        if self.log_level not in LOG_LEVELS:
            raise NotWritable("the log level", self.log_level, f"is none: give {', '.join(LOG_LEVELS)}")
        if self.transport not in TRANSPORTS:
            raise NotWritable("the transport", self.transport, f"is unknown: give {', '.join(TRANSPORTS)}")
        if self.memory_limit_bytes is not None and self.memory_limit_bytes < MIN_MEMORY_BYTES:
            raise NotWritable(
                "the memory limit",
                f"{self.memory_limit_bytes} bytes",
                f"is too little: a VM needs {MIN_MEMORY_BYTES} bytes to run at all",
            )
        for name in self.environment:
            if not _VARIABLE.fullmatch(name):
                raise NotWritable(
                    "the variable", name, "can't be called so: letters, digits and _, no digit first"
                )
            if name in _RESERVED:
                raise NotWritable("the variable", name, "can't be given: vmsdk or the node sets it")

    def _texts(self) -> list[tuple[str, str]]:
        return [
            ("the name", self.name),
            ("the target", self.target),
            ("the interpreter", self.python),
            *(("the folder", each) for each in self.path),
            *((f"the value of {name},", value) for name, value in self.environment.items()),
        ]

    def to_bytes(self) -> bytes:
        """The file. The same settings give the same bytes."""
        again = self.install_command
        if self.protocol is not None:
            again += f" --protocol {self.protocol}"
        elif not self.ask_parent:
            again += " --no-ask"
        gone = f"vmsdk: there is no Python at {self.python} any more. Install {self.name} again: {again}"
        exports = {"PYTHONHASHSEED": "0", **self.environment}
        arguments: dict[str, Any] = {
            "name": self.name,
            "target": self.target,
            "protocol": self.protocol,
            "ask_parent": self.ask_parent,
            "log_level": self.log_level,
            "transport": self.transport,
            "install_command": self.install_command,
        }
        text = _TEXT.format(
            name=self.name,
            version=__version__,
            python=shlex.quote(self.python),
            path=list(self.path),
            gone=shlex.quote(gone),
            limit="" if self.memory_limit_bytes is None else f"ulimit -d {self.memory_limit_bytes // 1024}\n",
            exports="".join(f"export {name}={shlex.quote(value)}\n" for name, value in exports.items()),
            arguments="".join(f"    {name}={value!r},\n" for name, value in arguments.items()),
        )
        data = text.encode("utf-8")
        return _CHECKSUM_LINE.sub(f"# vmsdk-launcher sha256:{_checksum(data)}\n".encode(), data, count=1)


@dataclass(frozen=True)
class Written:
    """A launcher that was found."""

    name: str
    target: str
    protocol: int | None
    """The protocol version that it speaks, if it was given one."""
    ask_parent: bool
    """Whether it asks the node, if it was given none."""


class Changed(Exception):
    """The text is a launcher's, but not as it was written."""


def recognise(data: bytes) -> Written | None:
    """The launcher that *data* is; None if it is none. Raises `Changed`."""
    found = _CHECKSUM_LINE.search(data)
    if found is None:
        return None
    if found[1].decode() != _checksum(data):
        raise Changed
    try:
        call = ast.parse(data).body[-1]
        assert isinstance(call, ast.Expr)
        assert isinstance(call.value, ast.Call)
        given = {each.arg: each.value for each in call.value.keywords}
        return Written(**{each.name: ast.literal_eval(given[each.name]) for each in fields(Written)})
    except (SyntaxError, ValueError, LookupError, AssertionError):
        return None


def _checksum(data: bytes) -> str:
    return hashlib.sha256(_CHECKSUM_LINE.sub(b"", data, count=1)).hexdigest()
