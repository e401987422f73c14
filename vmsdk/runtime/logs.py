"""Sends a plugin's output to the node's log: in whole lines, in UTF-8, immediately."""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import re
import select
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vmsdk.runtime import logrecords
from vmsdk.runtime.logrecords import RecordHandler

if TYPE_CHECKING:
    from typing_extensions import Buffer as ReadableBuffer

# A line that never ends is written in pieces of about this length, so that it doesn't fill the
# memory, and isn't copied again at each write.
MAX_PENDING_BYTES = 65_536
OWN_LOGGING = "the VM's own code configures logging, and with it the format"
# Control characters, including C1. Text from clients may contain them, and the terminal in which
# someone reads the log would execute them.
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
        self.line_format: Callable[[bytes], bytes] | None = None
        """Formats each line."""
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
            # The line break after a line that was written in pieces is not a line of its own.
            ended = lines + newline
            cut, self._local.cut = getattr(self._local, "cut", False), False
            self._emit_lines(ended[1:] if cut and self.line_format and ended[:1] == b"\n" else ended)
        if len(rest) > MAX_PENDING_BYTES:
            self.flush()
            self._local.cut = True
        return len(added)

    def flush(self) -> None:
        pending = getattr(self._local, "pending", b"")
        if pending:
            self._local.pending = b""
            self._emit_lines(pending)

    def close(self) -> None:
        """Flush only: a node stops a plugin that closes its output."""
        self.flush()

    def _emit_lines(self, data: bytes) -> None:
        line_format = self.line_format
        if line_format is not None:
            data = b"".join(map(line_format, data.splitlines()))
        self.emit(data)

    def emit(self, data: bytes) -> None:
        """Write *data* at once, and as it is except for control characters."""
        left = memoryview(_CONTROL.sub(_escaped, data))
        if sys.is_finalizing():
            self._lock = threading.Lock()  # a thread that Python has stopped may hold the old one
        with self._lock:
            try:
                while left:
                    try:
                        left = left[os.write(self._descriptor, left) :]
                    except BlockingIOError:  # asyncio.connect_write_pipe(…, sys.stdout) causes it
                        select.select((), (self._descriptor,), ())
            except OSError:
                pass


def _escaped(match: re.Match[bytes]) -> bytes:
    return rb"\x%02x" % match[0][-1]


class LineStream(io.TextIOWrapper):
    """A text stream of whole lines in UTF-8, written at once: see `LineBuffer`."""

    def __init__(self, buffer: LineBuffer) -> None:
        super().__init__(buffer, "utf-8", "backslashreplace", newline="\n", write_through=True)

    def reconfigure(self, *, errors: str | None = None, **ignored: Any) -> None:
        """Change the error handler only: the node's log stays in UTF-8, unbuffered."""
        super().reconfigure(errors=errors, write_through=True)

    def close(self) -> None:
        """Flush only: a node stops a plugin that closes its output."""
        self.flush()


_stdout = LineBuffer(1, "<stdout>")
_stderr = LineBuffer(2, "<stderr>")
_handler = RecordHandler(_stderr.emit)
_copies: dict[int, tuple[int, os.stat_result]] = {}
"""Duplicates of stdin, stdout and stderr, each with the file's status to recognise it by."""


def open_streams(level: int | str = logging.INFO, log_format: str = "plain") -> None:
    """Direct stdout, stderr, logging, warnings and uncaught exceptions of this process to the
    node's log.

    Leaves logging alone if the author has configured it already. Raises `ValueError` if *level* or
    *log_format* is unknown.
    """
    number = logrecords.level_number(level) if isinstance(level, str) else level
    logrecords.check_format(log_format)
    # gRPC's C core reads it when imported, and would report every closed connection. A node that is
    # started with the variable passes it on.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # Output of the author's imports comes first.
    if sys.stdout is not None:
        sys.stdout.flush()
    for descriptor in {0, 1, 2} - _copies.keys():
        try:
            _copies[descriptor] = (copy := os.dup(descriptor)), os.fstat(copy)
        except OSError:
            pass  # closed from the start
    sys.stdout = LineStream(_stdout)
    sys.stderr = LineStream(_stderr)
    root = logging.getLogger()
    root.setLevel(number)
    if not root.handlers:
        root.addHandler(_handler)
    if log_format != "plain" and not set_format(log_format):
        logging.getLogger("vmsdk").warning("log_format has no effect: %s", OWN_LOGGING)
    logging.captureWarnings(True)
    logrecords.log_uncaught_exceptions()
    if not faulthandler.is_enabled():
        faulthandler.enable(2)


def set_format(name: str) -> bool:
    """Write records and lines in the format `plain` or `json` from now on.

    Returns False if the author has configured logging, whose format then stays.
    """
    if _handler not in logging.getLogger().handlers:
        return False
    _handler.setFormatter(logrecords.FORMATTERS[name]())
    for each in (_stdout, _stderr):
        each.line_format = None if name == "plain" else logrecords.json_line(each.name.strip("<>"))
    return True


def report_repetitions(*, all_of_them: bool = False) -> None:
    """See `RecordHandler.report_repetitions`."""
    _handler.report_repetitions(all_of_them=all_of_them)


def write_line(line: str) -> None:
    """Write *line* to the node's log, wherever the author's code has directed `sys.stdout`."""
    _stdout.write(f"{line}\n".encode("utf-8", "backslashreplace"))


def enable_loggers(*names: str) -> None:
    """Enable vmsdk's loggers and *names*: `logging.config` disables each that exists already."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and (name in names or name.partition(".")[0] == "vmsdk"):
            logger.disabled = False


def reopen_descriptors() -> None:
    """Reopen stdin, stdout and stderr if the author's imports have closed them. Called once.

    Otherwise the next socket would be one of them, and get what is printed.
    """
    for descriptor, (copy, known) in _copies.items():
        try:
            is_ours = os.path.samestat(os.fstat(copy), known)
        except OSError:
            is_ours = False
        if not is_ours:  # the author's code may have opened another file in its place
            # The node's calls would wait forever.
            write_line(
                "vmsdk: the VM's code has closed files that it did not open, and with them the sockets to "
                "the node: a plugin must not call os.closerange or daemonize. The process exits"
            )
            os._exit(1)
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
