"""Log files that grow, and are replaced when they have grown too much."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from typing_extensions import Self

_POLL_S = 0.05


class LogFile:
    """Reads what is added to a log file from a mark on.

    A node replaces a log file that has grown to 8 MB by a new one of the same name; what the old one held is then no longer read.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self._offset = offset
        self._inode: int | None = None
        self._rest = b""

    @classmethod
    def at_end(cls, path: Path) -> Self:
        """A reader of what comes from now on. The file need not exist yet."""
        log = cls(path)
        try:
            status = path.stat()
        except FileNotFoundError:
            return log
        log._offset, log._inode = status.st_size, status.st_ino
        return log

    @classmethod
    def last_lines(cls, path: Path, count: int) -> tuple[Self, list[str]]:
        """The last `count` whole lines that are there now, and a reader of what follows them."""
        log = cls(path)
        lines = log.new_lines()
        return log, lines[-count:] if count > 0 else []

    def new_lines(self) -> list[str]:
        """The whole lines that were added since the last look; none where there is no file."""
        try:
            with self.path.open("rb") as file:
                self._seek(file)
                data = self._rest + file.read()
                self._offset = file.tell()
        except FileNotFoundError:
            return []
        *lines, self._rest = data.split(b"\n")
        return [line.decode(errors="replace").rstrip("\r") for line in lines]

    def follow(self, until: Callable[[], bool]) -> Iterator[str]:
        """Yields lines as they come, until there are none and `until` says so."""
        while True:
            ended = until()
            yield from self.new_lines()
            if ended:
                return
            time.sleep(_POLL_S)

    def _seek(self, file: BinaryIO) -> None:
        status = os.fstat(file.fileno())
        replaced = self._inode is not None and status.st_ino != self._inode
        if replaced or status.st_size < self._offset:
            self._offset, self._rest = 0, b""
        self._inode = status.st_ino
        file.seek(self._offset)
