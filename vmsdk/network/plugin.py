"""What becomes the one file of a VM in a network's plugin directory."""

from __future__ import annotations

import re
from pathlib import Path

from vmsdk.errors import VMError
from vmsdk.ids import ID, vm_id
from vmsdk.install import install
from vmsdk.target import ExecutableTarget, Target

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")


def default_name(target: Target) -> str:
    """A name for the VM: its class's (`vm.py:TimestampVM` gives `timestampvm`), else its module's or its executable's."""
    if isinstance(target, ExecutableTarget):
        name = target.name
    else:
        name = (target.attribute or target.module).rpartition(".")[2]
    return _NOT_IN_NAMES.sub("-", name).strip("-").lower()[: ID.LENGTH]


def absolute(target: Target) -> str:
    """The text of the target with an absolute path, where it names a file, so that it means the same from everywhere."""
    if isinstance(target, ExecutableTarget):
        return str(target.file)
    if target.file is None:
        return target.text
    return str(target.file) if target.attribute is None else f"{target.file}:{target.attribute}"


def id_of(target: Target, name: str) -> ID:
    """The VM's ID: made of its name, unless it is an executable that is called by an ID."""
    if isinstance(target, ExecutableTarget):
        try:
            return ID.from_string(target.file.stem)
        except VMError:
            pass  # called like any other file
    return vm_id(name)


def place(target: Target, name: str, plugin_dir: Path, protocol: int) -> ID:
    """Makes the file that a node of that protocol starts the VM by; returns the VM's ID.

    An executable is linked to, so that a rebuilt one is used from the node's next start on.

    Raises:
        VMError: the VM cannot be installed.
    """
    vm = id_of(target, name)
    if isinstance(target, ExecutableTarget):
        link = plugin_dir / str(vm)
        link.unlink(missing_ok=True)
        link.symlink_to(target.file)
    else:
        install(target.text, name=name, plugin_dir=plugin_dir, protocol=protocol)
    return vm
