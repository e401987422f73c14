"""A node's plugin directory: every file in it is a plugin, and one that is none keeps the node from
starting.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vmsdk.errors import VMError
from vmsdk.ids import ID
from vmsdk.install import launcher
from vmsdk.install.errors import InTheWay, NoPluginDirectory, NotOurs, NotWritten
from vmsdk.install.launcher import Changed, Written

# Any user may run the node, so any may read and execute; nobody but the owner writes.
MODE = 0o755
# A launcher has about 1 KB. What has more is none, and may be a node's own plugin of 50 MB.
MAX_LAUNCHER_BYTES = 256 * 1024


@dataclass(frozen=True)
class Entry:
    """One file of the directory."""

    path: Path
    vm_id: ID | None
    """Of the VM that a node takes it for; None for a name that is no VM's ID, which may be an alias."""
    launcher: Written | None
    """What it starts, if vmsdk wrote it."""
    changed: bool = False
    """Whether it is vmsdk's, but was changed by someone else."""


class PluginDirectory:
    """The plugin directory at *path*. Raises `NoPluginDirectory`."""

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise NoPluginDirectory(path)
        self.path = path.absolute()

    def file(self, vm_id: ID) -> Path:
        """Where the VM's plugin belongs."""
        return self.path / str(vm_id)

    def entries(self) -> list[Entry]:
        """What a node sees there, by name. Folders it doesn't see."""
        return [_entry(each) for each in sorted(self.path.iterdir()) if not each.is_dir()]

    def check(self, vm_id: ID) -> None:
        """Raise `NotOurs` or `InTheWay` unless the file of this VM is free, or a launcher that
        vmsdk wrote.
        """
        path = self.file(vm_id)
        for entry in self.entries():
            if entry.path == path and entry.launcher is None:
                raise NotOurs(path, changed=entry.changed)
            if entry.vm_id == vm_id and entry.path != path:
                raise InTheWay(entry.path, str(vm_id))

    @contextmanager
    def staged(self, data: bytes) -> Iterator[Path]:
        """An executable file of *data* that no node sees, from which `replace` can be done. Gone afterwards.

        It must be on the directory's own file system, for only there is a move one step. So it is
        in a folder beside the directory; or, where that is another file system or can't be written
        to, inside of it, since nodes pass over folders. A nameless file would leave no trace at
        all, but can't take another's place.
        """
        with self._folder() as folder:
            staged = Path(folder) / "launcher"
            try:
                with staged.open("xb") as file:
                    file.write(data)
                    os.fchmod(file.fileno(), MODE)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise NotWritten(staged, error.strerror or str(error)) from None
            yield staged

    @contextmanager
    def _folder(self) -> Iterator[str]:
        resolved = self.path.resolve()
        is_mount = resolved.parent.stat().st_dev != resolved.stat().st_dev
        try:
            beside = None if is_mount else tempfile.TemporaryDirectory(prefix=".vmsdk-", dir=resolved.parent)
        except OSError:
            beside = None
        try:
            with beside or tempfile.TemporaryDirectory(prefix=".vmsdk-", dir=resolved) as folder:
                yield folder
        except OSError as error:
            raise NotWritten(self.path, error.strerror or str(error)) from None

    def replace(self, vm_id: ID, staged: Path) -> Path:
        """Put the staged file in the VM's place in one step: a node sees the old one or the new
        one, whole.
        """
        path = self.file(vm_id)
        self.check(vm_id)
        try:
            staged.replace(path)
        except OSError as error:
            raise NotWritten(path, error.strerror or str(error)) from None
        return path

    def remove(self, vm_id: ID) -> bool:
        """Remove the VM's launcher; False if there is none. Raises `NotOurs`."""
        entry = next((each for each in self.entries() if each.path == self.file(vm_id)), None)
        if entry is None:
            return False
        if entry.launcher is None:
            raise NotOurs(entry.path, changed=entry.changed)
        try:
            entry.path.unlink()
        except OSError as error:
            raise NotWritten(entry.path, error.strerror or str(error)) from None
        return True


def _entry(path: Path) -> Entry:
    # A node takes off the last extension, and only that.
    try:
        vm_id = ID.from_string(path.stem)
    except VMError:
        vm_id = None
    try:
        # Not through a link: what that leads to may be ours, the link itself is someone else's.
        file = path.lstat()
        is_candidate = stat.S_ISREG(file.st_mode) and file.st_size <= MAX_LAUNCHER_BYTES
        return Entry(path, vm_id, launcher.recognise(path.read_bytes()) if is_candidate else None)
    except Changed:
        return Entry(path, vm_id, None, changed=True)
    except OSError:
        return Entry(path, vm_id, None)
