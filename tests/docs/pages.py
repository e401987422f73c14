"""The pages of the documentation, and the code in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]
"""All pages of the site that are files."""
_FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>.+?) -->\n)?^```(?P<language>.*)\n(?P<code>(?:.*\n)*?)```$", re.MULTILINE
)


class Block(NamedTuple):
    """A fenced block of code."""

    page: Path
    line: int
    """Where its code starts."""
    language: str
    code: str
    reason: str | None
    """Why it can't be run, from the comment above it: `<!-- not run: … -->`."""

    @property
    def place(self) -> str:
        folder = f"{self.page.parent.name}/" if self.page.name == "README.md" else ""
        return f"{folder}{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start("code")) + 1, *found.group("language", "code", "reason"))
        for found in _FENCE.finditer(text)
    ]


ALL = [block for page in PAGES for block in blocks(page)]
