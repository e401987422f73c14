"""Where `vmsdk dev` keeps a chain between runs."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from pathlib import Path
from typing import IO

from vmsdk.errors import VMError

PARENT = Path(".vmsdk")

_DATABASE = "chain.db"
_FILES = "files"
_GENESIS = "genesis"
_CHAIN = "chain.json"
_LOCK = "lock"
# What SQLite puts beside a database.
_SUFFIXES = ("", "-wal", "-shm", "-journal")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


class DataInUse(VMError):
    """Another `vmsdk dev` runs with the same data."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"another vmsdk dev runs with the data in {path}: stop that one, or give this one a --data-dir"
        )


class DataOfAnother(VMError):
    """The kept chain is another VM's, or began with another genesis."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path} holds a chain {reason}: --reset forgets that one, --data-dir keeps both")


class DataUnusable(VMError):
    """The folder can't be made, read or written."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"can't keep the chain in {path}: {reason}; give another folder by --data-dir")


class DataDirectory:
    """The folder *path*, by default one for VMs called *name*, and the lock on it.

    It holds the database, the genesis with which the chain began, and the VM's own files. Raises `DataInUse`
    and `DataUnusable`.
    """

    def __init__(self, path: Path | None, name: str) -> None:
        self.path = path or PARENT / file_name(name)
        self._name = name
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if path is None:
                # As the tools of the trade do: nobody has to think of it.
                (PARENT / ".gitignore").write_text("*\n")
            self._lock: IO[str] = (self.path / _LOCK).open("a")
        except OSError as error:
            raise DataUnusable(self.path, error.strerror or str(error)) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise DataInUse(self.path) from None

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.path / _DATABASE

    @property
    def files(self) -> Path:
        """The folder for the VM's own files."""
        return self.path / _FILES

    def reset(self) -> None:
        """Remove the chain. Nothing else in the folder is touched."""
        for suffix in _SUFFIXES:
            (self.path / (_DATABASE + suffix)).unlink(missing_ok=True)
        for name in (_GENESIS, _CHAIN):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.files, ignore_errors=True)

    def begin(self, genesis: bytes | None) -> bytes:
        """The genesis of the kept chain, which must be *genesis* if that is given; a new chain begins with it.

        Raises `DataOfAnother` and `DataUnusable`.
        """
        try:
            self.files.mkdir(exist_ok=True)
            kept = self._kept_genesis()
            if kept is None:
                kept = genesis or b""
                (self.path / _GENESIS).write_bytes(kept)
                _replace(self.path / _CHAIN, json.dumps({"vm": self._name}) + "\n")
        except OSError as error:
            raise DataUnusable(self.path, error.strerror or str(error)) from None
        if genesis is not None and genesis != kept:
            raise DataOfAnother(self.path, f"that began with another genesis ({len(kept)} bytes)")
        return kept

    def close(self) -> None:
        """Let others use the folder."""
        self._lock.close()

    def _kept_genesis(self) -> bytes | None:
        try:
            vm = json.loads((self.path / _CHAIN).read_text())["vm"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise DataUnusable(self.path, f"{_CHAIN} is damaged (--reset forgets the chain)") from None
        if vm != self._name:
            raise DataOfAnother(self.path, f"of the VM {vm}, not {self._name}")
        return (self.path / _GENESIS).read_bytes()


def file_name(name: str) -> str:
    """*name* as one part of a path and of a URL."""
    return _NOT_IN_NAMES.sub("-", name).strip("-.") or "vm"


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)
