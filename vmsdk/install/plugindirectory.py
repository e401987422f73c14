"""A node's plugin directory. A node does not start if a file there is not a plugin."""

from __future__ import annotations

import os
import shlex
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vmsdk.errors import VMError
from vmsdk.ids import ID
from vmsdk.install import launcher
from vmsdk.install.launcher import Changed, InstallError, Written

# Any user may run the node.
MODE = 0o755
# A launcher has about 1 KB, a bundle 12 MB; other plugins may have 50 MB.
MAX_LAUNCHER_BYTES = 256 * 1024
# The line that identifies a bundle is near its beginning.
_HEAD_BYTES = 4096


@dataclass(frozen=True)
class Entry:
    """One file of the directory."""

    path: Path
    vm_id: ID | None
    """The VM ID that is its name; None for another name, such as an alias."""
    launcher: Written | None
    """Its settings, if vmsdk wrote it."""
    changed: bool = False
    """Whether it was edited since vmsdk wrote it."""


def stem(name: str) -> str:
    """Return *name* without its last extension: what a node reads as a VM's ID or alias.

    A node skips a file of which nothing remains, such as `.this`.
    """
    return name[: name.rindex(".")] if "." in name else name


class PluginDirectory:
    """The plugin directory at *path*. Raises `InstallError` if there is none."""

    def __init__(self, path: Path) -> None:
        try:
            self.path = path.absolute()
            is_directory = path.is_dir()
        except OSError as error:
            raise InstallError(f"{path} can't be reached: {error.strerror or error}") from None
        if not is_directory:
            raise InstallError(
                f"{path} is a file, not a plugin directory"
                if path.exists()
                else f"there is no directory {path}: name the node's (plugins in its data directory, or its "
                f"--plugin-dir), or create it: mkdir -p {shlex.quote(str(path))}"
            )

    def file(self, vm_id: ID) -> Path:
        """Return the path at which nodes look for the VM's plugin."""
        return self.path / str(vm_id)

    def entries(self) -> list[Entry]:
        """Return the files that a node looks at, sorted by name: not folders, but links to them.

        Raises `InstallError` if the directory can't be listed.
        """
        try:
            return [
                _entry(each)
                for each in sorted(self.path.iterdir())
                if stem(each.name) and (each.is_symlink() or not each.is_dir())
            ]
        except OSError as error:
            raise InstallError(f"{self.path} can't be listed: {error.strerror or error}") from None

    def check(self, vm_id: ID) -> None:
        """Raise `InstallError` if the VM has a file that vmsdk did not write, or another file."""
        path = self.file(vm_id)
        for entry in self.entries():
            if entry.path == path and entry.launcher is None:
                raise _foreign(entry)
            if entry.vm_id == vm_id and entry.path != path:
                raise InstallError(
                    f"{entry.path} is also a plugin of the VM {vm_id}, and a node accepts only one: move it "
                    "away first"
                )

    @contextmanager
    def staged(self, data: bytes) -> Iterator[Path]:
        """Write *data* to a temporary executable file that no node sees, for `replace`.

        Moving it is atomic only within a file system. So it is in a folder next to the directory,
        or inside it if the parent is another file system or not writable; nodes ignore folders.
        """
        with self._folder() as folder:
            staged = Path(folder) / "launcher"
            os.chmod(folder, MODE)  # a trial may run as another user
            try:
                with staged.open("xb") as file:
                    file.write(data)
                    os.fchmod(file.fileno(), MODE)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise _unwritable(staged, error) from None
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
            raise _unwritable(self.path, error) from None

    def replace(self, vm_id: ID, staged: Path) -> Path:
        """Move the staged file to the VM's path, atomically."""
        path = self.file(vm_id)
        self.check(vm_id)
        try:
            staged.replace(path)
        except OSError as error:
            raise _unwritable(path, error) from None
        return path

    def remove(self, vm_id: ID) -> bool:
        """Remove the VM's launcher, and return whether there was one.

        Raises `InstallError` if vmsdk did not write it.
        """
        entry = next((each for each in self.entries() if each.path == self.file(vm_id)), None)
        if entry is None:
            return False
        if entry.launcher is None:
            raise _foreign(entry)
        try:
            entry.path.unlink()
        except OSError as error:
            raise _unwritable(entry.path, error) from None
        return True


def _foreign(entry: Entry) -> InstallError:
    what = "was changed since vmsdk wrote it" if entry.changed else "was not written by vmsdk"
    return InstallError(f"{entry.path} {what}, so vmsdk leaves it alone: move or remove it first")


def _unwritable(path: Path, error: OSError) -> InstallError:
    return InstallError(f"{path} can't be changed: {error.strerror or error}")


def written(path: Path) -> Written | None:
    """Parse the launcher or bundle at *path*. Returns None if it isn't one.

    Raises `Changed`, or `OSError` if it can't be read.
    """
    file = path.stat()
    is_candidate = stat.S_ISREG(file.st_mode) and (
        file.st_size <= MAX_LAUNCHER_BYTES or launcher.BUNDLE_LINE.search(_head(path)) is not None
    )
    return launcher.recognise(path.read_bytes()) if is_candidate else None


def _entry(path: Path) -> Entry:
    try:
        vm_id = ID.from_string(stem(path.name))
    except VMError:
        vm_id = None
    try:
        # A link is not ours, even if its target is.
        return Entry(path, vm_id, None if path.is_symlink() else written(path))
    except Changed:
        return Entry(path, vm_id, None, changed=True)
    except OSError:
        return Entry(path, vm_id, None)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)
