"""Explains from a plugin's output, with its tracebacks and stacks, why it failed."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from typing import NamedTuple

from vmsdk.doctor.symptom import SYMPTOMS

# What matters is at the beginning, and some patterns take quadratic time.
_LONGEST_LINE = 500
_SHOWN = 8
# Words before a harmless message, and words in one that may be the reason to exit.
_HARMLESS = re.compile(
    r"(?:^|[\s\[<|=\"])(?:debug|info|notice|trace|verbo|warn(?:ing)?)(?=[\s\]>|:\"])", re.IGNORECASE
)
_SERIOUS = re.compile(r"(?:error|exception|fatal|panic|critical)\b", re.IGNORECASE)
# A process gives the reason for its exit in its last lines.
_LAST_LINES = 5
# Python prints this about packages that hook into its start, and continues.
_AT_START = re.compile(
    r"^Error processing line \d+ of .+\n(?:.*\n)*?Remainder of file ignored$"
    r"|^Error in (?:site|user)customize; .+\n.*$",
    re.MULTILINE,
)

# Modules whose packages have another name.
_PACKAGES = {
    "Crypto": "pycryptodome",
    "Cryptodome": "pycryptodomex",
    "OpenSSL": "pyOpenSSL",
    "attr": "attrs",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "jwt": "PyJWT",
    "nacl": "PyNaCl",
    "pkg_resources": "setuptools<81",
    "sha3": "safe-pysha3",
    "yaml": "PyYAML",
    "zmq": "pyzmq",
}

# Frames in these are not the author's.
_FOREIGN = (
    *("site-packages", "dist-packages", "/lib/python", "<"),
    *(f"/vmsdk/{each}" for each in ("rpc/", "runtime/", "address.py", "serving.py", "target.py")),
)
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?')
_MESSAGE = re.compile(
    r"(?<![\w.])(?P<kind>[A-Za-z_][\w.]*?(?:Error|Exception|Exit|Interrupt|Warning|NotFound))"
    r"(?:: (?P<text>.*))?$"
)
_STACK = re.compile(r"^(?:Current thread|Thread|goroutine|Stack \(most recent|Fatal Python error|SIG[A-Z]+:)")
_TRACEBACK = "Traceback (most recent call last)"
# The last line of a traceback, whatever the exception's name, but not just any word.
_RAISED = re.compile(r"^(?=\S*[.:A-Z])(?P<kind>[A-Za-z_][\w.]*)(?:: (?P<text>.*))?$")
_STACK_LINES = 12


class Diagnosis(NamedTuple):
    """An explanation of the output."""

    code: str
    what: str
    cure: str
    place: str
    """The author's file and line, or empty."""
    shown: tuple[str, ...]
    """The lines that matter."""


def diagnose(output: Sequence[str], python: str | None = None) -> Diagnosis | None:
    """Return an explanation of *output*, or None if there is none. *python* runs the plugin."""
    # A log may have a whole traceback in one line.
    lines = [part for line in output for part in line.replace("\\n", "\n").split("\n")]
    lines = [line[:_LONGEST_LINE].replace(" (its log has the traceback)", "") for line in lines]
    text = _AT_START.sub("", "\n".join(lines))
    first, source = _last_place(text.split("\n"))
    place = "" if _is_foreign(first) else first
    source = source if place else ""
    for symptom, pattern in SYMPTOMS:
        found = None
        for each in pattern.finditer(text):
            if _counts(each, symptom.wide):
                found = each  # the last one
        if found is not None:
            values = {name: (value or "").strip() for name, value in found.groupdict().items()}
            python = python or "python3"
            module = values.get("name", "").partition(".")[0]
            package = values.get("dist") or _PACKAGES.get(module, module.replace("_", "-"))
            values |= {"python": shlex.quote(python), "package": shlex.quote(package or "PACKAGE")}
            return Diagnosis(
                symptom.code,
                symptom.what.format_map(values).removesuffix(": "),
                symptom.cure.format_map(values),
                place,
                (source,) if source else tail(lines),
            )
    error = next((found for each in reversed(lines) if (found := _MESSAGE.search(each))), None)
    if error is None and any(_TRACEBACK in line for line in lines):
        last = max((index for index, line in enumerate(lines) if _FRAME.search(line)), default=len(lines))
        error = next((found for each in lines[last + 1 :] if (found := _RAISED.match(each))), None)
    if error is None or not first:
        return None
    what = f"{error['kind']}: {error['text'] or ''}".removesuffix(": ")
    return Diagnosis(
        "exception",
        f"the VM's code raises {what}" if place else f"it exits with {what}",
        "fix the VM at that line" if place else "its output shows where",
        place,
        (source,) if source else tail(lines),
    )


def _counts(found: re.Match[str], wide: bool) -> bool:
    """Return whether a match of a pattern may be why the process exited."""
    text = found.string
    before = text[text.rfind("\n", 0, found.start()) + 1 : found.start()]
    if _HARMLESS.search(before):
        return False
    if not wide:
        return True
    following = text[found.end() :].split("\n")[1:]
    return bool(_SERIOUS.search(before)) or sum(bool(each.strip()) for each in following) < _LAST_LINES


def tail(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the last lines to show."""
    return tuple(line for line in lines if line.strip())[-_SHOWN:]


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
    found = (_FRAME.search(line) for line in lines)
    return next(
        (f"{each['file']}:{each['line']}" for each in found if each and not _is_foreign(each["file"])), ""
    )


def _last_place(lines: Sequence[str]) -> tuple[str, str]:
    """Return the author's last frame in the last traceback as `file:line`, and its source line.

    If no frame is the author's, return the first one.
    """
    place = source = ""
    for index, line in enumerate(lines):
        if _TRACEBACK in line:
            place = source = ""
        frame = _FRAME.search(line)
        if frame is not None and (not place or not _is_foreign(frame["file"])):
            place = f"{frame['file']}:{frame['line']}"
            following = lines[index + 1] if index + 1 < len(lines) else ""
            source = "" if _FRAME.search(following) or _MESSAGE.match(following) else following.strip()
    return place, source


def _is_foreign(file: str) -> bool:
    """Return whether the file belongs to Python or to a package, not to the author."""
    return any(each in file for each in _FOREIGN) or file.startswith(sys.base_prefix + "/lib/python")
