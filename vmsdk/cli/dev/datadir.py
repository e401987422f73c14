"""The folder in which `vmsdk dev` stores a chain."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from vmsdk.errors import VMError

PARENT = Path(".vmsdk")

_DATABASE = "chain.db"
_FILES = "files"
_GENESIS = "genesis"
_CHAIN = "chain.json"
_LOCK = "lock"
# SQLite's files next to a database.
_SUFFIXES = ("", "-wal", "-shm", "-journal")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


class DataDirectory:
    """The locked folder *path*, by default one for VMs called *name*.

    It has the database, the chain's genesis, and the VM's own files. Methods raise `VMError` if the
    folder is in use, unusable, or has another chain.
    """

    def __init__(self, path: Path | None, name: str) -> None:
        self.path = path or PARENT / file_name(name)
        self._name = name
        with self._usable():
            self.path.mkdir(parents=True, exist_ok=True)
            if path is None:
                # Keeps the data out of version control.
                (PARENT / ".gitignore").write_text("*\n")
            self._lock: IO[str] = (self.path / _LOCK).open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise VMError(
                f"another vmsdk dev is using the data in {self.path}: stop it, or choose another folder with "
                "--data-dir"
            ) from None
        except OSError as error:
            self._lock.close()
            raise self._unusable(f"it can't be locked: {error.strerror}") from None

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.path / _DATABASE

    @property
    def files(self) -> Path:
        """The folder for the VM's own files."""
        return self.path / _FILES

    def reset(self) -> None:
        """Remove the chain, but nothing else in the folder."""
        with self._usable():
            for name in (*(_DATABASE + suffix for suffix in _SUFFIXES), _GENESIS, _CHAIN):
                (self.path / name).unlink(missing_ok=True)
            shutil.rmtree(self.files, ignore_errors=True)

    def open(self, genesis: bytes | None) -> bytes:
        """Return the genesis of the stored chain, or *genesis* (default: empty) for a new one.

        Removes what is left of a VM that never started. Raises `VMError` if the stored chain has
        a different genesis.
        """
        with self._usable():
            kept = self._kept_genesis()
            if kept is None:
                self.reset()
            self.files.mkdir(exist_ok=True)
        if kept is None:
            return genesis or b""
        if genesis is not None and genesis != kept:
            raise self._taken(f"with a different genesis ({len(kept)} bytes)")
        return kept

    def keep(self, genesis: bytes) -> None:
        """Record that the chain has started with *genesis*."""
        with self._usable():
            if not (self.path / _CHAIN).exists():
                (self.path / _GENESIS).write_bytes(genesis)
                new = (self.path / _CHAIN).with_suffix(".new")
                new.write_text(json.dumps({"vm": self._name}) + "\n")
                os.replace(new, self.path / _CHAIN)

    def close(self) -> None:
        """Release the lock."""
        self._lock.close()

    def _kept_genesis(self) -> bytes | None:
        try:
            vm = json.loads((self.path / _CHAIN).read_text())["vm"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise self._unusable(f"{_CHAIN} is damaged (remove the chain with --reset)") from None
        if vm != self._name:
            raise self._taken(f"of the VM {vm}, not {self._name}")
        return (self.path / _GENESIS).read_bytes()

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from None

    def _unusable(self, reason: str) -> VMError:
        return VMError(
            f"can't store the chain in {self.path}: {reason}; choose another folder with --data-dir"
        )

    def _taken(self, reason: str) -> VMError:
        return VMError(
            f"{self.path} has a chain {reason}: remove it with --reset, or choose another folder with "
            "--data-dir"
        )


def file_name(name: str) -> str:
    """Turn *name* into one part of a path and of a URL."""
    return _NOT_IN_NAMES.sub("-", name).strip("-.") or "vm"
