"""What keeps a VM out of a plugin directory."""

from __future__ import annotations

import shlex
from pathlib import Path

from vmsdk.errors import VMError


class InstallError(VMError):
    """The base of the errors of installing. Nothing was changed."""


class NoPluginDirectory(InstallError):
    """There is no such directory, or it is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"{path} is a file, not a plugin directory"
            if path.exists()
            else f"there is no directory {path}: give the node's (plugins in its data directory, or its --plugin-dir), "  # noqa: E501
            f"or make it: mkdir -p {shlex.quote(str(path))}"
        )


class NotOurs(InstallError):
    """The file is not one that vmsdk wrote, or it was changed since: it is left alone."""

    def __init__(self, path: Path, *, changed: bool) -> None:
        self.path = path
        self.changed = changed
        what = "was changed since vmsdk wrote it" if changed else "was not written by vmsdk"
        super().__init__(f"{path} {what}, so it is left as it is: move it away first, or remove it")


class InTheWay(InstallError):
    """Another file in the directory is the same VM to a node, which would take either."""

    def __init__(self, path: Path, vm: str) -> None:
        self.path = path
        self.vm = vm
        super().__init__(f"{path} is the VM {vm}, too: a node takes only one of them. Move it away first")


class NotInstalled(InstallError):
    """There is no such VM to remove."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        super().__init__(f"{name} is not installed: there is no file {path}")


class NotWritten(InstallError):
    """The system refused to write or remove a file."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path} can't be changed: {reason}")


class NotWritable(InstallError):
    """A setting can't stand in the file that starts the VM."""

    def __init__(self, what: str, value: str, rule: str) -> None:
        self.what = what
        self.value = value
        self.rule = rule
        super().__init__(f"{what} {value!r} {rule}")


class NotStartable(InstallError):
    """The VM does not start as a node would start it. *output* is what it wrote, a traceback above all."""

    def __init__(self, target: str, reason: str, output: str) -> None:
        self.target = target
        self.reason = reason
        self.output = output
        text = f"{target} does not start where nothing of this shell's environment is left, as on a node: {reason}"  # noqa: E501
        super().__init__(f"{text}\n{output}" if output else text)


class NoSourceTarget(InstallError):
    """The target is a finished executable, which needs no launcher."""

    def __init__(self, target: str, path: Path) -> None:
        self.target = target
        self.path = path
        super().__init__(
            f"{target} is an executable, which a node can start as it is: cp {shlex.quote(target)} "
            f"{shlex.quote(str(path))}"
        )


class NodeSilent(InstallError):
    """What was given as the node does not tell its protocol version."""

    def __init__(self, node: Path, reason: str) -> None:
        self.node = node
        self.reason = reason
        super().__init__(f"{node} can't be asked for its protocol version: {reason}")
