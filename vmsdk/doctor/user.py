"""The user who runs the node, and what that user may do with files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from vmsdk.errors import VMError

_MAX_UID = 2**32 - 2


class User(NamedTuple):
    """A user of the operating system."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    """All groups, the first one included."""

    @classmethod
    def called(cls, name: str) -> User:
        """Return the user with this name or number. Raises `VMError` if there is none.

        A number needs no entry in the password database, as in a container.
        """
        import pwd

        try:
            entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        except (KeyError, OverflowError):
            if name.isdecimal() and int(name) <= _MAX_UID:
                return cls(name, int(name), int(name), (int(name),))
            raise VMError(f"there is no user {name} on this machine") from None
        groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid, tuple(groups))

    @classmethod
    def current(cls) -> User:
        """Return the user of this process."""
        uid, gid = os.geteuid(), os.getegid()
        return cls(name_of(uid), uid, gid, (gid, *os.getgroups()))

    def home(self) -> str | None:
        """Return the home directory, if the user has one."""
        import pwd

        try:
            return pwd.getpwuid(self.uid).pw_dir
        except KeyError:
            return None

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Access files as this user inside the block. Only root can be another user."""
        uid, gid = os.geteuid(), os.getegid()
        if uid == self.uid:
            yield
            return
        groups = os.getgroups()
        os.setgroups(self.groups)
        os.setegid(self.gid)
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(uid)
            os.setegid(gid)
            os.setgroups(groups)

    def may(self, path: Path | str, mode: int) -> bool:
        """Return whether the user has access to *path*: `os.R_OK`, `os.W_OK`, `os.X_OK`."""
        with self.acting():
            return _access(path, mode)

    def barriers(self, files: Iterable[Path], mode: int = os.R_OK) -> list[Path]:
        """Return the folders and files that keep the user from accessing *files*, each once.

        Follows symbolic links, and ignores files that don't exist.
        """
        files = list(files)
        paths = list(dict.fromkeys(path for file in files for path in (file, Path(os.path.realpath(file)))))
        with self.acting():
            found = [_barrier(path, mode) for path in paths]
        return list(dict.fromkeys(each for each in found if each is not None))


def name_of(uid: int) -> str:
    """Return the name of a user, or its number if it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _access(path: Path | str, mode: int) -> bool:
    # The real user is still root.
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _barrier(path: Path, mode: int) -> Path | None:
    if _access(path, mode):
        return None
    for folder in reversed(path.absolute().parents):
        if os.path.isdir(folder) and not _access(folder, os.X_OK):
            return folder
    return path if os.path.lexists(path) and os.path.exists(path) else None
