"""Tracebacks and stacks in a plugin's output, and the author's code in them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

# Frames in these are not the author's.
_FOREIGN = (
    *("site-packages", "dist-packages", "/lib/python", "<"),
    *(f"/vmsdk/{each}" for each in ("rpc/", "runtime/", "address.py", "serving.py", "target.py")),
)
FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?')
MESSAGE = re.compile(
    r"(?<![\w.])(?P<kind>[A-Za-z_][\w.]*?(?:Error|Exception|Exit|Interrupt|Warning|NotFound))"
    r"(?:: (?P<text>.*))?$"
)
_STACK = re.compile(r"^(?:Current thread|Thread|goroutine|Stack \(most recent|Fatal Python error|SIG[A-Z]+:)")
TRACEBACK = "Traceback (most recent call last)"
# The last line of a traceback, whatever the exception's name, but not just any word.
RAISED = re.compile(r"^(?=\S*[.:A-Z])(?P<kind>[A-Za-z_][\w.]*)(?:: (?P<text>.*))?$")
_STACK_LINES = 12


def stack(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the stack of the thread in the author's code, or of the one that was stopped.

    It is what Python's faulthandler, Go or Rust print at the end; empty if there is none.
    """
    starts = [index for index, line in enumerate(lines) if _STACK.match(line)]
    threads = [tuple(lines[a:b]) for a, b in zip(starts, [*starts, len(lines)][1:], strict=True)]
    current = (each for each in threads if each[0].startswith("Current thread"))
    chosen = next((each for each in threads if author_frame(each)), next(current, next(iter(threads), ())))
    return tuple(line for line in chosen if line.strip())[:_STACK_LINES]


def author_frame(lines: Sequence[str]) -> str:
    """Return the first frame of a stack (newest first) that is the author's, as `file:line`."""
    found = (FRAME.search(line) for line in lines)
    return next(
        (f"{each['file']}:{each['line']}" for each in found if each and not is_foreign(each["file"])), ""
    )


def last_place(lines: Sequence[str]) -> tuple[str, str]:
    """Return the author's last frame in the last traceback as `file:line`, and its source line.

    If no frame is the author's, return the first one.
    """
    place = source = ""
    for index, line in enumerate(lines):
        if TRACEBACK in line:
            place = source = ""
        frame = FRAME.search(line)
        if frame is not None and (not place or not is_foreign(frame["file"])):
            place = f"{frame['file']}:{frame['line']}"
            following = lines[index + 1] if index + 1 < len(lines) else ""
            source = "" if FRAME.search(following) or MESSAGE.match(following) else following.strip()
    return place, source


def is_foreign(file: str) -> bool:
    """Return whether the file belongs to Python or to a package, not to the author."""
    return any(each in file for each in _FOREIGN) or file.startswith(sys.base_prefix + "/lib/python")
