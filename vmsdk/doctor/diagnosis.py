"""Explains from a plugin's output why it failed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from vmsdk.doctor.frames import FRAME, MESSAGE, RAISED, TRACEBACK, is_foreign, last_place
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
    first, source = last_place(text.split("\n"))
    place = "" if is_foreign(first) else first
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
    error = next((found for each in reversed(lines) if (found := MESSAGE.search(each))), None)
    if error is None and any(TRACEBACK in line for line in lines):
        last = max((index for index, line in enumerate(lines) if FRAME.search(line)), default=len(lines))
        error = next((found for each in lines[last + 1 :] if (found := RAISED.match(each))), None)
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
