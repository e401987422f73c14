"""What becomes the one file of a VM in a network's plugin directory."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vmsdk.errors import VMError
from vmsdk.ids import ID, vm_id
from vmsdk.network.binary import NodeBinary

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")


def default_name(target: str) -> str:
    """A name for what `target` names: the class's (`vm.py:TimestampVM` gives `timestampvm`), else the module's or the file's."""
    where, _, attribute = target.partition(":")
    stem = Path(where).stem if os.sep in where or where.endswith(".py") else where.rpartition(".")[2]
    return _NOT_IN_NAMES.sub("-", attribute.rpartition(".")[2] or stem).strip("-").lower()[: ID.LENGTH]


def absolute(target: str) -> str:
    """`target` with an absolute path, where it names a file, so that it means the same from everywhere."""
    where, separator, attribute = target.partition(":")
    return f"{Path(where).absolute()}{separator}{attribute}" if Path(where).exists() else target


def is_executable(target: str) -> bool:
    """Whether `target` is a plugin already: an executable file, written in whatever language."""
    path = Path(target)
    return path.is_file() and os.access(path, os.X_OK) and path.suffix != ".py"


def place(target: str, name: str, plugin_dir: Path, binary: NodeBinary) -> ID:
    """Makes the file that a node of that protocol starts `target` by; returns the VM's ID.

    An executable is linked to: a rebuilt one is used from the node's next start on. It may be named by its VM ID.

    Raises:
        VMError: there is no such VM.
    """
    if not is_executable(target):
        from vmsdk.install import install  # an executable plugin needs none of it

        path = install(target, name=name, plugin_dir=plugin_dir, protocol=binary.protocol)
        return ID.from_string(path.stem)
    vm = _id_of_file(Path(target)) or vm_id(name)
    link = plugin_dir / str(vm)
    link.unlink(missing_ok=True)
    link.symlink_to(Path(target).absolute())
    return vm


def _id_of_file(path: Path) -> ID | None:
    try:
        return ID.from_string(path.stem)
    except VMError:
        return None
