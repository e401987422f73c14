"""What reaches the node's log: logging, print and warnings, whole lines in UTF-8, at once."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import time

STDOUT_FD = 1
STDERR_FD = 2
# A line that never ends is written in pieces of about this length, so that it neither fills the
# memory nor is copied again at each write.
MAX_PENDING_CHARS = 65_536


class LineStream(io.TextIOBase):
    """A text stream that writes whole lines only, each in one piece, whoever else writes meanwhile.

    The node copies both streams into its log as they come. A node that is gone is no reason to
    fail: then the lines are dropped.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._local = threading.local()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace"

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        pending = getattr(self._local, "pending", "") + text
        lines, newline, rest = pending.rpartition("\n")
        self._local.pending = rest
        if newline:
            self._emit(lines + newline)
        if len(rest) > MAX_PENDING_CHARS:
            self.flush()
        return len(text)

    def flush(self) -> None:
        pending = getattr(self._local, "pending", "")
        if pending:
            self._local.pending = ""
            self._emit(pending)

    def close(self) -> None:
        """Flush only: a node stops a plugin that closes its output."""
        self.flush()

    def _emit(self, text: str) -> None:
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                pass


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


def open_streams(level: int | str = logging.INFO) -> None:
    """Make stdout, stderr, logging and warnings of this process fit for the node's log.

    Logging that the author has configured already is left as it is. Raises `ValueError` for an
    unknown level.
    """
    # gRPC's C core, which reads this when it is imported, would report every closed connection. A
    # node that is started with the variable hands it on.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # What the author's imports have printed comes first, and not at the end of the process.
    sys.stdout.flush()
    sys.stdout = LineStream(STDOUT_FD)
    sys.stderr = LineStream(STDERR_FD)
    root = logging.getLogger()
    root.setLevel(level)
    if not root.handlers:
        handler = _StreamHandler(sys.stderr)
        handler.setFormatter(_OneLine())
        root.addHandler(handler)
    logging.captureWarnings(True)
