"""What `vmsdk dev` shows."""

from __future__ import annotations

import io
import os

import pytest

from vmsdk.cli.dev.screen import Screen
from vmsdk.host.block import Block
from vmsdk.ids import ID
from vmsdk.timestamp import Timestamp

LONG = "x" * 500


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def block(seconds: int) -> Block:
    return Block(id=ID.of(b"1"), parent_id=ID.EMPTY, height=7, timestamp=Timestamp(seconds), raw=bytes(80))


def test_a_line_stays_one_line_and_is_not_markup() -> None:
    out = io.StringIO()
    screen = Screen(out)
    screen.vm_line("stderr", f"[red]{LONG}[/red] :smile:")
    assert out.getvalue() == f"vm | [red]{LONG}[/red] :smile:\n"


@pytest.mark.parametrize("show", ["warning", "error"])
def test_what_a_client_sends_cannot_steer_the_terminal(show: str) -> None:
    out = io.StringIO()
    getattr(Screen(out), show)("HTTP 404: A\x1b[31m /\x9b2J/\u202eevil\r\x07\nhint \u00fc")
    assert out.getvalue() == "HTTP 404: A\\x1b[31m /\\x9b2J/\\u202eevil\\r\\x07\nhint \u00fc\n"


def test_what_the_terminals_encoding_lacks_is_shown_escaped() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    Screen(file).vm_line("stdout", "Grüezi")
    assert raw.getvalue() == b"vm | Gr\\xfcezi\n"


def test_a_block_is_shown_with_its_whole_id() -> None:
    out = io.StringIO()
    Screen(out).block(block(1_700_000_000))
    assert out.getvalue().startswith(f"block 7  {ID.of(b'1')}  2023-11-1")
    assert out.getvalue().endswith("  80 bytes\n")


@pytest.mark.parametrize("seconds", [Timestamp.ZERO.seconds, 253_402_300_799])
def test_a_block_of_any_time_is_shown(seconds: int) -> None:
    out = io.StringIO()
    Screen(out).block(block(seconds))
    assert out.getvalue().endswith("  80 bytes\n")


def test_a_traceback_has_the_colour_of_its_error(terminal: Terminal) -> None:
    screen = Screen(terminal)
    screen.vm_line("stderr", "[11-24|20:27:07.123] ERROR coin: failed")
    screen.vm_line("stdout", "  indented, of the other stream")
    screen.vm_line("stderr", "    Traceback (most recent call last):")
    screen.vm_line("stderr", "plain")
    error, other, traceback, plain = terminal.getvalue().splitlines()
    red = "\x1b[31m"
    assert red in error
    assert red in traceback
    assert red not in other
    assert red not in plain


def test_the_command_to_copy_stands_outside_the_frame(terminal: Terminal) -> None:
    Screen(terminal).facts("coin", [("URL", "http://127.0.0.1:1/")], f"curl {LONG}")
    assert "╭" in terminal.getvalue()
    assert f"curl {LONG}" in terminal.getvalue()


def test_a_missing_reader_is_reported_once() -> None:
    reader, writer = os.pipe()
    told: list[bool] = []
    with open(writer, "w") as pipe:
        screen = Screen(pipe, on_close=lambda: told.append(True))
        screen.note("heard")
        assert os.read(reader, 100) == b"heard\n"
        os.close(reader)
        screen.note("unheard")
        screen.note("unheard")
    assert told == [True]
