"""What nodes have said of themselves, so that a plugin's next start need not ask."""

from __future__ import annotations

import os
import sys
import zlib

from vmsdk.runtime.ancestors import Ancestor
from vmsdk.runtime.release import Release

MAX_ENTRY_BYTES = 16 * 1024
# A machine has a few nodes. One that makes a new one all the time, for tests, must not fill the directory.
MAX_ENTRIES = 64


class AnswerCache:
    """One small file for each node executable, in *directory*, which is made when there is something to keep.

    An entry counts only for the very file that gave the answer: the same path, size and time of
    change. A file that can't be read or written, or holds anything else, is as good as none.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def get(self, node: Ancestor) -> Release | None:
        """What this executable said."""
        try:
            key = _key(node)
            with open(self._file(node), "rb") as file:
                entry = file.read(MAX_ENTRY_BYTES).decode("utf-8", "surrogateescape")
        except (OSError, UnicodeError):
            return None
        # The key last: nothing that was cut off can pass for whole.
        application, _, rest = entry.partition("\n")
        number, _, entry_key = rest.partition("\n")
        if entry_key != key or not (number.isdecimal() and number.isascii()):
            return None
        return Release(application, int(number))

    def put(self, node: Ancestor, release: Release) -> None:
        """Keep what this executable has said. Plugins that start at the same time may do so, too."""
        try:
            entry = f"{release.application}\n{release.protocol}\n{_key(node)}"
            os.makedirs(self._directory, mode=0o755, exist_ok=True)
            self._make_room()
            temporary = f"{self._file(node)}.{os.getpid()}"
            with open(temporary, "wb") as file:
                file.write(entry.encode("utf-8", "surrogateescape"))
            os.replace(temporary, self._file(node))
        except OSError:
            pass  # the next start asks again: it works, if later

    def _make_room(self) -> None:
        names = os.listdir(self._directory)
        for name in names if len(names) >= MAX_ENTRIES else ():
            os.unlink(os.path.join(self._directory, name))

    def _file(self, node: Ancestor) -> str:
        return os.path.join(self._directory, f"{zlib.crc32(os.fsencode(node.path)):08x}")


def _key(node: Ancestor) -> str:
    file = os.stat(node.executable)
    return f"{file.st_size} {file.st_mtime_ns} {node.path}\n"


def cache_directory() -> str | None:
    """Where the answers of nodes are kept, None if nowhere.

    In the virtual environment that the plugin runs from, if it may write there; else in the user's cache.
    A node gives its plugins no HOME: the user's entry in the system's list of users has one.
    """
    if sys.prefix != sys.base_prefix and os.access(sys.prefix, os.W_OK):
        return os.path.join(sys.prefix, "share", "vmsdk", "nodes")
    home = os.path.expanduser("~")
    return os.path.join(home, ".cache", "vmsdk", "nodes") if os.path.isabs(home) else None
