"""Formats of records, levels, and the limit on repetitions."""

from __future__ import annotations

import json
import logging
import sys
import threading
from typing import Any

import pytest

from vmsdk.runtime.logrecords import (
    FORMATTERS,
    MAX_REMEMBERED,
    WINDOW_S,
    JSONFormatter,
    PlainFormatter,
    RecordHandler,
    _thread_failed,
    json_line,
    level_number,
)


def record(message: str = "hello", level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("my.vm", level, "/src/chain/vm.py", 7, message, None, None)
    vars(made).update(extra)
    return made


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Written:
    """A handler with a clock, and what it has written."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.lines: list[str] = []
        self.handler = RecordHandler(lambda data: self.lines.append(data.decode().rstrip("\n")), self.clock)

    def messages(self) -> list[str]:
        return [line.partition(": ")[2] for line in self.lines]


@pytest.mark.parametrize(
    ("level", "plain", "json_level"),
    [
        (5, "VERBO", "verbo"),
        (10, "DEBUG", "debug"),
        (15, "TRACE", "trace"),
        (20, "INFO", "info"),
        (25, "Level 25", "info"),
        (30, "WARN", "warn"),
        (40, "ERROR", "error"),
        (50, "FATAL", "fatal"),
        (60, "Level 60", "fatal"),
    ],
)
def test_levels_have_the_nodes_names(level: int, plain: str, json_level: str) -> None:
    assert f"] {plain} my.vm: hello" in PlainFormatter().format(record(level=level))
    assert json.loads(JSONFormatter().format(record(level=level)))["level"] == json_level


@pytest.mark.parametrize("name", ["warn", "WARN", "Warning"])
def test_levels_are_found_by_the_names_of_nodes_and_of_logging(name: str) -> None:
    assert level_number(name) == logging.WARNING


def test_a_level_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match="'loud' is not a log level: use verbo, debug, trace, info, warn"):
        level_number("loud")


def test_json_has_the_nodes_members_in_their_order() -> None:
    try:
        raise KeyError("x")
    except KeyError:
        text = JSONFormatter().format(record("two\nlines", exc_info=sys.exc_info()))
    assert "\n" not in text
    entry = json.loads(text)
    assert list(entry) == ["level", "timestamp", "logger", "caller", "msg", "stacktrace"]
    assert (entry["logger"], entry["caller"], entry["msg"]) == ("my.vm", "chain/vm.py:7", "two\nlines")
    assert entry["stacktrace"].endswith("KeyError: 'x'")


def test_extra_fields_are_members_and_cannot_replace_a_records_own() -> None:
    extra: dict[str, Any] = {"height": 7, "caller": "none", "ratio": float("nan"), "lock": threading.Lock()}
    entry = json.loads(JSONFormatter().format(record(**extra)))
    assert (entry["height"], entry["caller"], entry["ratio"]) == (7, "chain/vm.py:7", "nan")
    assert "lock" in entry["lock"]
    assert PlainFormatter().format(record(height=7)).endswith('my.vm: hello {"height": 7}')


def test_control_characters_are_escaped_as_json_does() -> None:
    assert json.loads(JSONFormatter().format(record("\x1b[2J\x7f\x9b")))["msg"] == "\x1b[2J\x7f\x9b"
    line = json_line("stdout")("grüße \x7f".encode() + b"\xff").decode()
    assert json.loads(line)["msg"] == "grüße \x7f\\xff"
    assert "grüße" in line
    assert "\x7f" not in line


def test_a_message_has_no_line_end_as_those_of_warnings_do() -> None:
    assert PlainFormatter().format(record("two\nlines\n")).endswith(": two\\nlines")
    assert json.loads(JSONFormatter().format(record("two\nlines\n")))["msg"] == "two\nlines"


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def test_a_log_call_that_fails_is_one_record_with_its_place() -> None:
    written = Written()
    for message, argument in (("%d", "x"), ("%s", Unspeakable())):
        failing = record(message)
        failing.args = (argument,)
        written.handler.handle(failing)
    first, second = written.messages()
    assert first.startswith("the log call at /src/chain/vm.py:7 fails by TypeError: ")
    assert first.endswith(", with the message '%d'")
    assert second == "the log call at /src/chain/vm.py:7 fails by ValueError: no text, with the message '%s'"


def test_an_exception_without_a_text_ends_a_thread_with_a_record() -> None:
    written = Written()
    logger = logging.getLogger("vmsdk")
    logger.addHandler(written.handler)
    try:
        error = Unspeakable()
        _thread_failed(threading.ExceptHookArgs((Unspeakable, error, None, threading.current_thread())))
    finally:
        logger.removeHandler(written.handler)
    (line,) = written.lines
    assert "ended by Unspeakable: <Unspeakable, whose str() fails>" in line


def test_equal_records_are_counted_after_the_first_ten() -> None:
    written = Written()
    for _ in range(25):
        written.handler.handle(record())
    written.handler.handle(record("another"))
    assert written.messages() == ["hello"] * 10 + ["another"]
    written.handler.report_repetitions()
    assert len(written.lines) == 11, "the window is not over"
    written.clock.now_s += WINDOW_S
    written.handler.report_repetitions()
    assert written.messages()[11:] == ["hello (repeated 15 more times)"]
    written.handler.handle(record())
    assert written.messages()[12:] == ["hello"]


def test_records_with_other_fields_are_not_equal() -> None:
    written = Written()
    for amount in range(20):
        written.handler.handle(record("transfer", amount=amount))
    for _ in range(12):
        written.handler.handle(record("transfer", amount=0))
    written.handler.report_repetitions(all_of_them=True)
    assert len(written.lines) == 20 + 9 + 1
    assert written.messages()[-1] == 'transfer (repeated 3 more times) {"amount": 0}'


def test_long_messages_are_counted_but_not_kept() -> None:
    written = Written()
    for end in "ab":
        for _ in range(12):
            written.handler.handle(record("x" * 200_000 + end))
    assert len(written.lines) == 20
    written.handler.report_repetitions(all_of_them=True)
    assert [len(line) < 2_000 for line in written.lines] == [False] * 20 + [True] * 2


def test_a_record_after_the_window_reports_the_repetitions_before_it() -> None:
    written = Written()
    for _ in range(11):
        written.handler.handle(record())
    written.clock.now_s += WINDOW_S
    written.handler.handle(record())
    assert written.messages()[10:] == ["hello (repeated 1 more times)", "hello"]


def test_records_are_equal_only_with_the_same_logger_level_and_text() -> None:
    written = Written()
    for number in range(20):
        written.handler.handle(record(f"block {number}"))
        written.handler.handle(record(f"block {number}", level=logging.ERROR))
    assert len(written.lines) == 40


def test_ever_new_records_do_not_fill_the_memory() -> None:
    written = Written()
    for number in range(MAX_REMEMBERED + 10):
        written.handler.handle(record(f"block {number}"))
    assert len(written.handler._seen) == MAX_REMEMBERED
    written.handler.report_repetitions(all_of_them=True)
    assert not written.handler._seen


def test_a_long_traceback_keeps_its_end_which_is_the_exception() -> None:
    try:
        try:
            raise KeyError("x\n" * 3_000)
        except KeyError as first:
            raise ValueError("x\n" * 3_000 + "the reason") from first
    except ValueError as error:
        found = FORMATTERS["plain"]().format(record(exc_info=(ValueError, error, error.__traceback__)))
    assert "KeyError" in found
    assert found.endswith("the reason")


@pytest.mark.parametrize("text", ["x" * 1_000_000, "x\n" * 1_000_000], ids=["line", "lines"])
@pytest.mark.parametrize("name", ["plain", "json"])
def test_a_traceback_is_cut_however_long_the_text_of_its_exception(name: str, text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError as error:
        found = FORMATTERS[name]().format(record(exc_info=(ValueError, error, error.__traceback__)))
    assert "in test_a_traceback_is_cut" in found
    assert "ValueError: x" in found
    assert len(found) < 20_000
