"""The user who runs the node, and what that user can read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from vmsdk.install.launcher import InstallError, Launcher


class Reader(NamedTuple):
    """A user of the operating system."""

    uid: int
    gids: frozenset[int]

    @classmethod
    def owner_of(cls, directory: Path) -> Reader:
        """Return the owner of *directory*, with the directory's group only."""
        status = directory.stat()
        return cls(status.st_uid, frozenset({status.st_gid}))

    @classmethod
    def called(cls, name: str) -> Reader:
        """Return the user called *name*. Raises `InstallError` if there is none."""
        import pwd

        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise InstallError(f"there is no user {name} on this machine") from None
        return cls(entry.pw_uid, frozenset(os.getgrouplist(name, entry.pw_gid)))

    def may(self, path: Path, permission: int) -> bool:
        """Return whether the user has *permission* for *path*: 4 to read it, 1 to enter it."""
        status = path.stat()
        if self.uid == 0:
            return True
        if status.st_uid == self.uid:
            return bool(status.st_mode & permission << 6)
        return bool(status.st_mode & (permission << 3 if status.st_gid in self.gids else permission))


def barriers(files: Iterable[Path], reader: Reader) -> list[Path]:
    """Return the folders and files that keep *reader* from reading *files*, each once.

    Follows symbolic links.
    """
    paths = (path for file in files for path in (file, Path(os.path.realpath(file))))
    return list(dict.fromkeys(barrier for path in paths for barrier in _barrier(path, reader)))


def _barrier(path: Path, reader: Reader) -> Iterator[Path]:
    for folder in reversed(path.parents):
        if not reader.may(folder, stat.S_IXOTH):
            yield folder
            return
    if path.exists() and not reader.may(path, stat.S_IROTH):
        yield path


def files_of(launcher: Launcher) -> Iterator[Path]:
    """Yield the files that *launcher* needs: Python, vmsdk, the VM's source."""
    yield Path(launcher.python)
    yield Path(__file__)
    source = launcher.target
    if source.file is not None:
        yield source.file
    if source.root is not None:
        yield from sorted(source.code.glob("*.py" if source.code == source.root else "**/*.py"))
