"""The logs of several nodes as one stream, told apart by the nodes' names."""

from __future__ import annotations

import sys
import zlib
from dataclasses import dataclass
from typing import TextIO

from vmsdk.network.logs import LogFile

_COLOURS = (36, 33, 35, 32, 34)  # terminal colours: cyan, yellow, magenta, green, blue


@dataclass
class Source:
    """One log, and the label of its lines."""

    label: str
    """Empty where there is only one log."""
    log: LogFile


def print_new_lines(sources: list[Source], out: TextIO = sys.stdout) -> None:
    """Prints what was added to the logs since the last time."""
    for source in sources:
        print_lines(source.label, source.log.new_lines(), out)


def print_lines(label: str, lines: list[str], out: TextIO = sys.stdout) -> None:
    """Prints lines as they are, after the label."""
    prefix = _prefix(label, out)
    for line in lines:
        out.write(f"{prefix}{line}\n")
    if lines:
        out.flush()


def _prefix(label: str, out: TextIO) -> str:
    if not label:
        return ""
    if not out.isatty():
        return f"{label}: "
    colour = _COLOURS[zlib.crc32(label.encode()) % len(_COLOURS)]
    return f"\033[{colour}m{label}\033[0m: "
