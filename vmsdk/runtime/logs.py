"""Brings logging, print and warnings to the node's log: whole lines, in UTF-8, at once."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Buffer as ReadableBuffer

# A line that never ends is written in pieces of about this length, so that it doesn't fill the
# memory, and isn't copied again at each write.
MAX_PENDING_BYTES = 65_536
# Control characters, C1 included, of which a client's text may have some: whoever reads the log in
# a terminal would execute them.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|\xc2[\x80-\x9f]")


class LineBuffer(io.BufferedIOBase):
    """Writes whole lines to *descriptor*, each in one piece, from any thread.

    Each thread's unfinished line is kept until it ends or is flushed. Control characters are
    written as escape sequences, such as `\\x1b`. If the node, which reads the stream, is gone,
    lines are dropped.
    """

    mode = "wb"

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self._descriptor = descriptor
        self.forget()

    def forget(self) -> None:
        """Reset in a forked child: a thread of the parent may have held the lock."""
        self._lock = threading.Lock()
        self._local = threading.local()

    @property
    def raw(self) -> LineBuffer:
        return self

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        added = bytes(data)
        pending = getattr(self._local, "pending", b"") + added
        lines, newline, rest = pending.rpartition(b"\n")
        self._local.pending = rest
        if newline:
            self._emit(lines + newline)
        if len(rest) > MAX_PENDING_BYTES:
            self.flush()
        return len(added)

    def flush(self) -> None:
        pending = getattr(self._local, "pending", b"")
        if pending:
            self._local.pending = b""
            self._emit(pending)

    def close(self) -> None:
        """Flush only: a node stops a plugin that closes its output."""
        self.flush()

    def _emit(self, data: bytes) -> None:
        left = memoryview(_CONTROL.sub(_escaped, data))
        with self._lock:
            try:
                while left:
                    left = left[os.write(self._descriptor, left) :]
            except OSError:
                pass


def _escaped(match: re.Match[bytes]) -> bytes:
    return rb"\x%02x" % match[0][-1]


class LineStream(io.TextIOWrapper):
    """A text stream of whole lines in UTF-8, written at once: see `LineBuffer`."""

    def __init__(self, buffer: LineBuffer) -> None:
        super().__init__(buffer, "utf-8", "backslashreplace", newline="\n", write_through=True)

    def reconfigure(self, *, errors: str | None = None, **ignored: Any) -> None:
        """Take another error handler. The node's log stays in UTF-8, unbuffered."""
        super().reconfigure(errors=errors, write_through=True)

    def close(self) -> None:
        """Flush only: a node stops a plugin that closes its output."""
        self.flush()


class _OneLine(logging.Formatter):
    """`[11-24|20:27:07.123] INFO name: message`; a traceback follows indented, so that it stays
    together.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%m-%d|%H:%M:%S", time.localtime(record.created))
        message = record.getMessage().replace("\r", "\\r").replace("\n", "\\n")
        level = "WARN" if record.levelname == "WARNING" else record.levelname  # the node's own word
        line = f"[{moment}.{int(record.msecs):03d}] {level} {record.name}: {message}"
        extra = []
        if record.exc_info:
            extra.append(self.formatException(record.exc_info))
        if record.stack_info:
            extra.append(record.stack_info)
        return "\n".join([line, *("    " + row for text in extra for row in text.splitlines())])


class _StreamHandler(logging.StreamHandler[LineStream]):
    """Writes a record and its line end in one piece."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.stream.write(self.format(record) + self.terminator)
        except Exception:  # noqa: BLE001 - logging's own rule: a bad record must not stop the program
            self.handleError(record)


_stdout = LineBuffer(1, "<stdout>")
_stderr = LineBuffer(2, "<stderr>")
_copies: dict[int, int] = {}


def open_streams(level: int | str = logging.INFO) -> None:
    """Direct stdout, stderr, logging and warnings of this process to the node's log.

    Leaves logging alone if the author has configured it already. Raises `ValueError` if *level* is
    unknown.
    """
    # gRPC's C core reads it when imported, and would report every closed connection. A node that is
    # started with the variable passes it on.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # What the author's imports have printed comes before everything else.
    if sys.stdout is not None:
        sys.stdout.flush()
    for descriptor in {0, 1, 2} - _copies.keys():
        try:
            _copies[descriptor] = os.dup(descriptor)
        except OSError:
            pass  # closed from the start
    sys.stdout = LineStream(_stdout)
    sys.stderr = LineStream(_stderr)
    root = logging.getLogger()
    root.setLevel(level)
    if not root.handlers:
        # With its own stream: the author may detach or replace sys.stderr.
        handler = _StreamHandler(LineStream(_stderr))
        handler.setFormatter(_OneLine())
        root.addHandler(handler)
    logging.captureWarnings(True)


def say(line: str) -> None:
    """Write *line* to the node's log, wherever the author's code has directed `sys.stdout`."""
    _stdout.write(f"{line}\n".encode("utf-8", "backslashreplace"))


def reopen_descriptors() -> None:
    """Reopen stdin, stdout and stderr if the author's imports have closed them. Called once.

    Otherwise the next socket would be one of them, and get what is printed.
    """
    for descriptor, copy in _copies.items():
        try:
            os.fstat(descriptor)
        except OSError:
            os.dup2(copy, descriptor)
        os.close(copy)  # a node notices when the plugin closes its stdout
    _copies.clear()


def forget_streams() -> None:
    """Make the streams usable in a forked child."""
    _stdout.forget()
    _stderr.forget()
