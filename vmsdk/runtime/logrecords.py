"""The records of `logging` in the node's log: their formats, and the limit on repetitions."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, TypeAlias

BURST = 10
"""Equal records within `WINDOW_S` that are written; the others are counted."""
WINDOW_S = 10.0
# Neither many different messages nor long ones must fill the memory.
MAX_REMEMBERED = 1_000
MAX_REMEMBERED_CHARACTERS = 2_000
# A traceback ends with the exception's text, which may quote what a client has sent.
MAX_STACK_LINES = 1_000
MAX_STACK_LINE_CHARACTERS = 1_000

LEVELS = {
    "verbo": 5,
    "debug": logging.DEBUG,
    "trace": 15,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "off": logging.CRITICAL + 10,
}
"""The node's levels, in `logging`'s numbers. Source: utils/logging/level.go."""
_ALIASES = {"warning": "warn", "critical": "fatal"}
# The node's word where it differs from `logging`'s.
_PLAIN_LEVELS = {"WARNING": "WARN", "CRITICAL": "FATAL", "Level 5": "VERBO", "Level 15": "TRACE"}
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
# json.dumps escapes the other control characters.
_CONTROL = re.compile("[\x7f-\x9f]")

LogFormat: TypeAlias = Literal["plain", "json"]

_Key: TypeAlias = tuple[str, int, str, str, int, type[BaseException] | None]
"""Logger, level, message, fields as JSON, digest and exception of a record.

A long message is truncated, and loses its fields; the digest then stands for all of it.
"""

_log = logging.getLogger("vmsdk")


def level_number(name: str) -> int:
    """The level called *name* by a node or by `logging`, in any case. Raises `ValueError`."""
    key = name.lower()
    number = LEVELS.get(_ALIASES.get(key, key), logging.getLevelName(name))
    if not isinstance(number, int):
        raise ValueError(f"{name!r} is not a log level: use {', '.join(LEVELS)}")
    return number


# Formats ------------------------------------------------------------------------------------------


class PlainFormatter(logging.Formatter):
    """`[11-24|20:27:07.123] INFO name: message {"field": 1}`, as a node writes it.

    A traceback follows, indented: a line that begins with `[` is a new record.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%m-%d|%H:%M:%S", time.localtime(record.created))
        message = _message(record).replace("\r", "\\r").replace("\n", "\\n")
        level = _PLAIN_LEVELS.get(record.levelname, record.levelname)
        line = f"[{moment}.{int(record.msecs):03d}] {level} {record.name}: {message}"
        fields = _fields(record)
        if fields:
            line += f" {_json(fields)}"
        return "\n".join([line, *("    " + row for row in self.stack(record).splitlines())])

    def stack(self, record: logging.LogRecord) -> str:
        """The traceback and the stack of *record*, if it has them."""
        parts = [self.formatException(record.exc_info)] if record.exc_info else []
        if record.stack_info:
            parts.append(record.stack_info)
        return "\n".join(_shortened("\n".join(parts).splitlines()))


def _shortened(lines: list[str]) -> list[str]:
    omitted = len(lines) - MAX_STACK_LINES
    if omitted > 0:
        # The exception itself is at the end.
        half = MAX_STACK_LINES // 2
        lines = [*lines[:half], f"... {omitted} lines omitted", *lines[-half:]]
    return [
        line
        if len(line) <= MAX_STACK_LINE_CHARACTERS
        else f"{line[:MAX_STACK_LINE_CHARACTERS]}... ({len(line)} characters)"
        for line in lines
    ]


class JSONFormatter(PlainFormatter):
    """One JSON object a record, in the format of a node with `--log-format=json`."""

    def format(self, record: logging.LogRecord) -> str:
        directory, _, file = record.pathname.replace("\\", "/").rpartition("/")
        entry: dict[str, Any] = {
            "level": _node_level(record.levelno),
            "timestamp": _timestamp(record.created),
            "logger": record.name,
            "caller": f"{directory.rpartition('/')[2]}/{file}:{record.lineno}",
            "msg": _message(record),
        }
        entry = {**entry, **_fields(record), **entry}
        stack = self.stack(record)
        if stack:
            entry["stacktrace"] = stack
        return _json(entry)


FORMATTERS: dict[str, type[PlainFormatter]] = {"plain": PlainFormatter, "json": JSONFormatter}


def check_format(name: object) -> None:
    """Raise `ValueError` unless *name* is in `FORMATTERS`."""
    if not isinstance(name, str) or name not in FORMATTERS:
        raise ValueError(f"{name!r} is not a log format: use {' or '.join(FORMATTERS)}")


def json_line(logger: str) -> Callable[[bytes], bytes]:
    """Return a function that turns a printed line into a JSON record. *logger* names the stream."""

    def formatted(line: bytes) -> bytes:
        text = line.decode("utf-8", "backslashreplace")
        entry = {"level": "info", "timestamp": _timestamp(time.time()), "logger": logger, "msg": text}
        return (_json(entry) + "\n").encode("utf-8", "backslashreplace")

    return formatted


def readable(line: str) -> list[str]:
    """Return a JSON record as lines in the plain format, and any other line unchanged."""
    import json

    try:
        entry = json.loads(line) if line.startswith("{") else None
    except ValueError:  # such as a truncated one
        entry = None
    if not isinstance(entry, dict) or not isinstance(entry.get("msg"), str):
        return [line]
    text, logger = entry["msg"], entry.get("logger", "")
    if logger not in ("stdout", "stderr"):  # printed lines have no level
        level = str(entry.get("level", "")).upper()
        text = f"{level} {logger}: {text}" if logger else f"{level} {text}"
    more = (entry.get(each) for each in ("error", "stacktrace"))
    return "\n".join([text, *(each for each in more if isinstance(each, str))]).splitlines() or [""]


def _node_level(number: int) -> str:
    found = "verbo"
    for name, lowest in LEVELS.items():
        if lowest <= number and name != "off":
            found = name
    return found


def _timestamp(moment: float) -> str:
    # As zap's ISO8601TimeEncoder.
    local = time.localtime(moment)
    zone = time.strftime("%z", local)
    milliseconds = int(moment % 1 * 1_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{milliseconds:03d}{'Z' if zone == '+0000' else zone}"


def _message(record: logging.LogRecord) -> str:
    # Warnings end with a line break.
    return record.getMessage().rstrip("\r\n")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What the author's `extra=` added to *record*."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _json(entry: dict[str, Any]) -> str:
    import json  # not before the handshake, for which the node waits 5 s

    try:
        text = json.dumps(entry, ensure_ascii=False, default=str, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        simple = {
            str(name): value if isinstance(value, (str, int)) else str(value) for name, value in entry.items()
        }
        text = json.dumps(simple, ensure_ascii=False)
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


# Writing ------------------------------------------------------------------------------------------


class RecordHandler(logging.Handler):
    """Writes each record, with its line break, in one piece.

    Of equal records within `WINDOW_S`, writes the first `BURST`, and then how many followed.
    """

    def __init__(self, write: Callable[[bytes], object], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._write = write
        self._clock = clock
        self._seen: OrderedDict[_Key, _Repetition] = OrderedDict()
        self.setFormatter(PlainFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self._is_shown(record):
                self._emit(record)
        except Exception:  # noqa: BLE001 - logging's own rule: a bad record must not stop the program
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Log in one record that *record* can't be formatted, where `logging` prints many lines."""
        if not logging.raiseExceptions:
            return
        kind, error, _ = sys.exc_info()
        name = "an exception" if kind is None else kind.__name__
        text = f"the log call at {record.pathname}:{record.lineno} fails by {name}: {_text_of(error)}"
        text += f", with the message {_text_of(record.msg)!r}"
        about = logging.LogRecord("vmsdk", logging.ERROR, record.pathname, record.lineno, text, None, None)
        if self._is_shown(about):
            self._emit(about)

    def report_repetitions(self, *, all_of_them: bool = False) -> None:
        """Write the counts of repeated records whose window is over, or of *all_of_them*."""
        self.acquire()
        try:
            latest_s = self._clock() - WINDOW_S
            while self._seen:
                key, first = next(iter(self._seen.items()))
                if first.began_s > latest_s and not all_of_them:
                    break
                self._close(key)
        finally:
            self.release()

    def _emit(self, record: logging.LogRecord) -> None:
        self._write(f"{self.format(record)}\n".encode("utf-8", "backslashreplace"))

    def _is_shown(self, record: logging.LogRecord) -> bool:
        exception = record.exc_info[0] if record.exc_info else None
        message, extra, digest = record.getMessage(), _fields(record), 0
        fields = _json(extra) if extra else ""
        if len(message) + len(fields) > MAX_REMEMBERED_CHARACTERS:
            digest = hash((message, fields))
            message, fields = f"{message[: MAX_REMEMBERED_CHARACTERS // 2]}...", ""
        key = (record.name, record.levelno, message, fields, digest, exception)
        now_s = self._clock()
        seen = self._seen.get(key)
        if seen is not None and now_s - seen.began_s >= WINDOW_S:
            self._close(key)
            seen = None
        if seen is None:
            if len(self._seen) >= MAX_REMEMBERED:
                self._close(next(iter(self._seen)))
            self._seen[key] = _Repetition(now_s, (record.pathname, record.lineno))
            return True
        seen.count += 1
        return seen.count <= BURST

    def _close(self, key: _Key) -> None:
        seen = self._seen.pop(key)
        if seen.count > BURST:
            name, level, message, fields, _, _ = key
            text = f"{message} (repeated {seen.count - BURST:,} more times)"
            record = logging.LogRecord(name, level, *seen.place, text, None, None)
            if fields:
                import json

                vars(record).update(json.loads(fields))
            self._emit(record)


class _Repetition:
    """Counts equal records."""

    def __init__(self, began_s: float, place: tuple[str, int]) -> None:
        self.began_s = began_s
        self.place = place
        self.count = 1


# Uncaught exceptions ------------------------------------------------------------------------------


def log_uncaught_exceptions() -> None:
    """Log exceptions that end a thread, and those that Python can't raise, such as a destructor's.

    asyncio logs those of tasks itself. Keeps hooks that the author has set.
    """
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _main_thread_failed
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _thread_failed
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _unraisable


def _text_of(value: object) -> str:
    """Return `str(value)`, or a placeholder if that raises."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - whatever the author's __str__ does
        return f"<{type(value).__name__}, whose str() fails>"


def _main_thread_failed(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    problem = (kind, error, traceback)
    _log.critical("the main thread was ended by %s: %s", kind.__name__, _text_of(error), exc_info=problem)


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    kind, error = failed.exc_type, failed.exc_value
    if kind is SystemExit:
        return
    name = failed.thread.name if failed.thread is not None else "unknown"
    problem = None if error is None else (kind, error, failed.exc_traceback)
    _log.error("the thread %s was ended by %s: %s", name, kind.__name__, _text_of(error), exc_info=problem)


def _unraisable(failed: sys.UnraisableHookArgs) -> None:
    text, error = failed.err_msg or "Exception ignored in", failed.exc_value
    problem = None if error is None else (failed.exc_type, error, failed.exc_traceback)
    try:
        name, message = failed.exc_type.__name__, _text_of(error)
        _log.error("%s %r: %s: %s", text, failed.object, name, message, exc_info=problem)
    except Exception:  # noqa: BLE001 - whatever the object's repr does
        sys.__unraisablehook__(failed)
