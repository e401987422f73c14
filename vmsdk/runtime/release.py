"""A node's release, and the plugin protocol that it speaks."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from typing_extensions import Self

VERSION_FLAG = "--version"
"""Every node supports it, but older ones don't support `--version-json`."""

# Source: Versions.String in the node's version/string.go. Order and number of the entries differ.
# The application is shown and logged, so it has no control characters.
_WORD = r"[^\s/\x00-\x1f\x7f-\x9f]+"
_OUTPUT = rf"^(?P<application>{_WORD}/{_WORD}) \[(?:[^\]\n]*, )?rpcchainvm=(?P<protocol>\d{{1,4}})(?=[,\]])"

MAX_OUTPUT_BYTES = 1024 * 1024
MAX_ENTRY_BYTES = 16 * 1024
# A machine has a few nodes, but tests may compile a new one each time.
MAX_ENTRIES = 64


class Release(NamedTuple):
    """One release of a node."""

    application: str
    """Name and version, as in `metalgo/1.13.5`."""
    protocol: int
    """Its plugin protocol, which vmsdk may not support."""

    @classmethod
    def parse(cls, output: str) -> Self | None:
        """Parse the *output* of `--version`. Returns None if it is not a node's."""
        # Not compiled at import, since most plugins find the release in the cache.
        found = re.search(_OUTPUT, output, re.MULTILINE)
        return None if found is None else cls(found["application"], int(found["protocol"]))

    @property
    def name(self) -> str:
        """The client's name: `avalanchego` or `metalgo`."""
        return self.application.partition("/")[0]

    @property
    def version(self) -> str:
        """Its version, as in `1.13.5`."""
        return self.application.partition("/")[2]


class Command:
    """Runs *executable* as *argv* in the background, with only the given *environment*.

    It gets no input, and its stderr is discarded. `output`, `release` or `close` ends it. Raises
    `OSError` if it can't be started.
    """

    # Without subprocess, whose import takes longer than all of this: a plugin must start quickly.
    def __init__(
        self, executable: str, argv: list[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self._started_at_s = time.monotonic()
        self.timed_out = False
        """Whether `output` stopped waiting for it."""
        self._reader, writer = os.pipe()
        try:
            self._pid: int | None = os.posix_spawn(
                executable,
                argv,
                environment or {},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, writer, 1),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
            )
        except OSError:
            os.close(self._reader)
            raise
        finally:
            os.close(writer)

    def output(self, timeout_s: float, is_enough: Callable[[str], bool] = lambda text: False) -> str:
        """Return what it prints within *timeout_s* of its start or until *is_enough*. Call once."""
        deadline_s = self._started_at_s + timeout_s
        printed = b""
        try:
            # Reads at least once, even if the time is over.
            while not (self.timed_out or len(printed) >= MAX_OUTPUT_BYTES or is_enough(_text(printed))):
                left_s = max(0.0, deadline_s - time.monotonic())
                ready, _, _ = select.select([self._reader], [], [], left_s)
                data = os.read(self._reader, MAX_OUTPUT_BYTES) if ready else b""
                if ready and not data:
                    break
                self.timed_out = not ready or left_s == 0.0
                printed += data
        finally:
            self.close()
        return _text(printed)

    def release(self, timeout_s: float) -> Release | None:
        """Return the release that it prints, if it is a node with `--version`; like `output`."""
        return Release.parse(self.output(timeout_s, lambda text: Release.parse(text) is not None))

    def close(self) -> None:
        """Kill the process. Idempotent."""
        if self._pid is None:
            return
        pid, self._pid = self._pid, None
        os.close(self._reader)
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass  # already reaped because the author's code ignores SIGCHLD


class ReleaseCache:
    """Caches the releases of node executables in *directory*, one small file each.

    An entry is valid for the same path, size and modification time. Files that can't be read,
    parsed or written are ignored.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def get(self, path: str, executable: str) -> Release | None:
        """Return the release of the file *executable*, which is known as *path*."""
        try:
            key = _key(path, executable)
            with open(self._file(path), "rb") as file:
                entry = file.read(MAX_ENTRY_BYTES).decode("utf-8", "surrogateescape")
        except (OSError, UnicodeError):
            return None
        # The key comes last, so that a truncated entry can't match.
        application, _, rest = entry.partition("\n")
        number, _, entry_key = rest.partition("\n")
        if entry_key != key or not (number.isdecimal() and number.isascii()):
            return None
        return Release(application, int(number))

    def put(self, path: str, executable: str, release: Release) -> None:
        """Store the release of *executable*. Several plugins may do so at the same time."""
        try:
            entry = f"{release.application}\n{release.protocol}\n{_key(path, executable)}"
            os.makedirs(self._directory, mode=0o755, exist_ok=True)
            self._make_room()
            temporary = f"{self._file(path)}.{os.getpid()}"
            with open(temporary, "wb") as file:
                file.write(entry.encode("utf-8", "surrogateescape"))
            os.replace(temporary, self._file(path))
        except OSError:
            pass  # the next start asks again

    def _make_room(self) -> None:
        names = os.listdir(self._directory)
        for name in names if len(names) >= MAX_ENTRIES else ():
            os.unlink(os.path.join(self._directory, name))

    def _file(self, path: str) -> str:
        return os.path.join(self._directory, f"{zlib.crc32(os.fsencode(path)):08x}")


def cache_directory() -> str | None:
    """Return the cache in the virtual environment, or the user's if that is not writable.

    Returns None without either. A node sets no HOME for its plugins, but the password database has
    the home directory.
    """
    if sys.prefix != sys.base_prefix and os.access(sys.prefix, os.W_OK):
        return os.path.join(sys.prefix, "share", "vmsdk", "nodes")
    home = os.path.expanduser("~")
    return os.path.join(home, ".cache", "vmsdk", "nodes") if os.path.isabs(home) else None


def _key(path: str, executable: str) -> str:
    file = os.stat(executable)
    return f"{file.st_size} {file.st_mtime_ns} {path}\n"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
