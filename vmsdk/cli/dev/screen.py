"""The output of `vmsdk dev`: blocks, the VM's log, and the state of its process."""

from __future__ import annotations

import io
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from vmsdk.host.block import Block
from vmsdk.timestamp import Timestamp

# `[11-24|20:27:07.123] INFO name: message` is how nodes and VMs in Go and Python log.
_LEVEL = re.compile(r"\[[\d|:. -]+\] (?P<level>[A-Z]+) ")
_STYLES = {
    "TRACE": "dim",
    "DEBUG": "dim",
    "INFO": "",
    "WARN": "yellow",
    "WARNING": "yellow",
    "ERROR": "red",
    "CRITICAL": "bold red",
    "FATAL": "bold red",
}
_ERRORS = ("ERROR", "CRITICAL", "FATAL")
# A request's method and path may contain characters that move the cursor or reverse the text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class _Closed(Exception):
    """The output no longer has a reader."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise _Closed


class Screen:
    """Writes to *file*: in colour if it is a terminal, else in plain lines. Thread-safe.

    Calls *on_close* once when the output no longer has a reader.
    """

    def __init__(self, file: IO[str] = sys.stdout, *, on_close: Callable[[], None] = lambda: None) -> None:
        if isinstance(file, io.TextIOWrapper):
            # A VM may write characters that the terminal's encoding lacks.
            file.reconfigure(errors="backslashreplace")
        self._console = _Console(file=file, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._lock = threading.Lock()
        self._on_close = on_close
        self._closed = False
        self._line_styles: dict[str, str] = {}
        """The style of each stream's last line, for indented lines that continue it."""
        self._shadow_failed = False

    def facts(self, title: str, facts: Sequence[tuple[str, str]], hint: str) -> None:
        """Show the running VM: labels with values, and a hint such as a command to copy."""
        if not self._console.is_terminal:
            lines = [title, *(f"  {label}: {value}" for label, value in facts), *hint.splitlines()]
            self._print(Text("\n".join(lines)))
            return
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for label, value in facts:
            grid.add_row(label, value)
        panel = Panel(grid, title=Text(title, "bold"), title_align="left", border_style="green", expand=False)
        # A command inside the frame would be wrapped, and couldn't be copied.
        self._print(panel, *(Text(line, "cyan") for line in hint.splitlines()))

    def block(self, block: Block) -> None:
        """Show an accepted block."""
        self._print(
            Text.assemble(
                (f"block {block.height}", "bold green"),
                f"  {block.id}  ",
                (f"{_moment(block.timestamp)}  {len(block.raw)} bytes", "dim"),
            )
        )

    def vm_line(self, stream: str, line: str) -> None:
        """Show a line of the VM."""
        match = _LEVEL.match(line)
        if match is not None:
            style = _STYLES.get(match["level"], "")
        else:
            # An indented line, as in a traceback, belongs to the line before.
            style = self._line_styles.get(stream, "") if line[:1].isspace() else ""
        self._line_styles[stream] = style
        self._print(Text.assemble(("vm | ", "dim"), (line, style)))

    def shadow_line(self, stream: str, line: str) -> None:
        """Show a line of the VM's shadow if it is part of an error; others repeat the VM's own."""
        match = _LEVEL.match(line)
        if match is not None:
            self._shadow_failed = match["level"] in _ERRORS
        if self._shadow_failed and (match is not None or line[:1].isspace()):
            self._print(Text.assemble(("shadow | ", "dim"), (line, _STYLES["ERROR"])))

    def note(self, text: str) -> None:
        """Show something that went well."""
        self._print(Text(text, "dim"))

    def warning(self, text: str) -> None:
        """Show something that needs attention."""
        self._print(Text(_harmless(text), "yellow"))

    def error(self, text: str) -> None:
        """Show what ended the VM."""
        self._print(Text(_harmless(text), "bold red"))

    def _print(self, *things: object) -> None:
        with self._lock:
            if self._closed:
                return
            try:
                for thing in things:
                    self._console.print(thing)
                return
            except (_Closed, OSError):
                self._closed = True
                self._discard_the_rest()
        self._on_close()

    def _discard_the_rest(self) -> None:
        """Empty the file's buffer, which would cause an error at exit."""
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), self._console.file.fileno())


def _harmless(text: str) -> str:
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _moment(timestamp: Timestamp) -> str:
    """Format the local time, or the seconds if the system can't."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(timestamp.seconds))
    except (OverflowError, ValueError, OSError):
        return f"{timestamp.seconds} s"
