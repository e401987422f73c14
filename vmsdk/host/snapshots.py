"""Saved states of a chain: the node's database, the VM's files and the time."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from vmsdk.host.clock import Clock
from vmsdk.host.errors import ChainMisused, HostError
from vmsdk.host.node import Host
from vmsdk.host.sqlite import SQLiteDatabase

MAX_SNAPSHOTS = 64


@dataclass(frozen=True)
class Snapshot:
    """One saved state."""

    disk: SQLiteDatabase
    folder: TemporaryDirectory[str]
    offset_ns: int

    @property
    def files(self) -> Path:
        return Path(self.folder.name) / "files"

    def close(self) -> None:
        """Delete it. Idempotent."""
        self.disk.close()
        self.folder.cleanup()

    def restore(self, database: Path, files: Path, clock: Clock | None) -> None:
        """Restore the state. No process of the VM may run.

        Raises `OSError` or `HostError`, such as on a full disk; nothing is changed then.
        """
        new = files.with_name(files.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        try:
            # First what may run out of space: neither of the two changes anything if it fails.
            shutil.copytree(self.files, new)
            with SQLiteDatabase(database) as disk:
                self.disk.copy_to(disk)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        shutil.rmtree(files, ignore_errors=True)
        new.replace(files)
        if clock is not None:
            clock.set_offset(self.offset_ns)


class Snapshots:
    """The snapshots of a chain, by number. Each can be restored once."""

    def __init__(self) -> None:
        self._kept: dict[int, Snapshot] = {}
        self._last = 0

    def save(self, host: Host, clock: Clock | None) -> int:
        """Save the state of *host*'s chain, and return the snapshot's number.

        Raises `HostError`, such as on a full disk.
        """
        if len(self._kept) >= MAX_SNAPSHOTS:
            raise ChainMisused(f"there are {MAX_SNAPSHOTS} snapshots: revert to one, or start dev again")
        try:
            snapshot = _saved(host, clock)
        except (OSError, HostError) as error:
            raise HostError(f"can't save a snapshot: {_reason(error)}") from None
        self._last += 1
        self._kept[self._last] = snapshot
        return self._last

    def check(self, number: int) -> None:
        """Raise `ChainMisused` if there is no such snapshot."""
        if number not in self._kept:
            raise ChainMisused(f"there is no snapshot {number:#x}: a snapshot can be reverted to once")

    def restore(self, number: int, database: Path, files: Path, clock: Clock | None) -> None:
        """Restore a snapshot, and delete it and all later ones. No process of the VM may run.

        Raises `HostError`, such as on a full disk; nothing is changed then.
        """
        self.check(number)
        try:
            self._kept[number].restore(database, files, clock)
        except (OSError, HostError) as error:
            raise HostError(
                f"can't revert to snapshot {number:#x}: {_reason(error)}; the chain continues unchanged, and "
                "the snapshot is kept"
            ) from None
        for gone in [each for each in self._kept if each >= number]:
            self._kept.pop(gone).close()

    def close(self) -> None:
        """Delete all snapshots."""
        for snapshot in self._kept.values():
            snapshot.close()


def _saved(host: Host, clock: Clock | None) -> Snapshot:
    folder = TemporaryDirectory(prefix="vmsdk-snapshot-")
    snapshot = Snapshot(SQLiteDatabase(), folder, 0 if clock is None else clock.offset_ns)
    try:
        with host.chain.engine.lock:
            host.services.disk.copy_to(snapshot.disk)
            assert host.config.chain_data_dir is not None, "a host that has started has a folder"
            _copy_files(host.config.chain_data_dir, snapshot.files)
    except BaseException:
        snapshot.close()
        raise
    return snapshot


def _copy_files(files: Path, copy: Path) -> None:
    """Copy a folder. What the VM removes meanwhile is missing."""
    try:
        shutil.copytree(files, copy, copy_function=_copy, ignore_dangling_symlinks=True)
    except shutil.Error as error:  # after the rest was copied
        failures = [each for each in error.args[0] if os.path.lexists(each[0])]
        if failures:
            raise shutil.Error(failures) from None


def _copy(file: str, copy: str) -> None:
    """Copy a file, unless it is a pipe or a socket, or the VM has just removed it."""
    with suppress(FileNotFoundError):
        if stat.S_ISREG(os.stat(file).st_mode):
            shutil.copy2(file, copy)


def _reason(error: Exception) -> str:
    if isinstance(error, shutil.Error):  # of several files, each with the names and its reason
        return str(error.args[0][0][-1])
    return str(error)
