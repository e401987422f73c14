"""What is wrong, where, and how to fix it."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning", "note"]

_COLUMNS = 100
_COLOURS = {"error": "1;31", "warning": "1;33", "note": "1;36", "where": "1;34"}
# A line of a plugin's output may have any length.
_LONGEST_LINE = 300
# So may the text of an error that it returns.
_LONGEST_TEXT = 2_000

Paint = Callable[[str, str], str]


@dataclass(frozen=True)
class Finding:
    """One fault, in words."""

    severity: Severity
    """An error keeps the plugin, or the node, from starting or ending as it should."""
    code: str
    """Its kind, such as `no-interpreter`, for scripts."""
    where: str
    """A path, perhaps with `:` and a line; or what else is at fault."""
    what: str
    cure: str = ""
    detail: tuple[str, ...] = ()
    """Lines that show it: source code, or the plugin's last output."""
    node: str = ""
    """What a node logs, or does."""

    def text(self, paint: Paint) -> str:
        """Return it as text, in the style of a compiler."""
        lines = [
            paint(self.severity, f"{self.severity}[{self.code}]") + f": {_clean(_cut(self.what))}",
            f"  {paint('where', '-->')} {_clean(self.where)}",
            *(f"   {paint('where', '|')} {_clean(each)[:_LONGEST_LINE]}" for each in self.detail),
        ]
        for title, text in (("node", self.node), ("help", self.cure)):
            if text:
                indent = " " * (len(title) + 7)
                wrapped = textwrap.wrap(
                    _clean(_cut(text)),
                    _COLUMNS,
                    subsequent_indent=indent,
                    break_long_words=False,
                    break_on_hyphens=False,
                    initial_indent=indent,
                )
                lines.append(f"   {paint('where', '=')} {title}: " + "\n".join(wrapped).lstrip())
        return "\n".join(lines)


def plain(kind: str, text: str) -> str:
    """Return *text* without colour."""
    return text


def coloured(kind: str, text: str) -> str:
    """Return *text* in the colour of *kind*, for a terminal."""
    return f"\033[{_COLOURS[kind]}m{text}\033[0m"


def quoted(path: Path | str) -> str:
    """Return *path* for a shell."""
    return shlex.quote(str(path))


def worst(findings: Iterable[Finding]) -> Severity | None:
    """Return the highest severity among *findings*."""
    found = {each.severity for each in findings}
    return next((each for each in ("error", "warning", "note") if each in found), None)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def _clean(text: str) -> str:
    """Escape control characters: the text may come from a plugin."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
