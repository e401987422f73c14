"""CONTRIBUTING names files that exist, and all dependencies that users install."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
OTHER_EXTRAS = {"all", "test", "lint", "release"}  # for work on vmsdk itself, or made of others


def section(heading: str) -> str:
    return TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def is_there(name: str, before: list[Path]) -> bool:
    """Whether there is such a file or folder, perhaps beside one that is named *before* it."""
    for folder in (ROOT, ROOT / "vmsdk", *before):
        if (found := folder / name).exists():
            before += [found, found.parent]
            return True
    return False


LINES = [line for heading in ("The layers", "Where is what") for line in section(heading).splitlines()]
PATHS = re.compile(r"`([\w./-]+(?:\.py|/))`")


@pytest.mark.parametrize("line", [line for line in LINES if PATHS.search(line)])
def test_each_file_that_is_named_exists(line: str) -> None:
    before: list[Path] = []
    assert [name for name in PATHS.findall(line) if not is_there(name, before)] == []


def requirements() -> list[str]:
    """The packages of the core and of the extras for users. (Python 3.10 has no tomllib.)"""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    listed = re.findall(r"^(\w+) = \[(.*?)\]$", extras, re.MULTILINE | re.DOTALL)
    core = re.findall(r"^dependencies = \[(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    texts = [*core, *(text for name, text in listed if name not in OTHER_EXTRAS)]
    return sorted({name for text in texts for name in re.findall(r'"([\w-]+)', text)})


def test_each_dependency_is_in_the_table() -> None:
    listed = set(re.findall(r"[\w-]+", section("Dependencies")))
    assert len(requirements()) > 20
    assert [name for name in requirements() if name not in listed] == []
