"""The changelog keeps its form and belongs to the version."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import vmsdk

CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}  # Keep a Changelog 1.1.0

Sections = dict[str, str]


def sections(text: str, level: str) -> Sections:
    """The text below each heading of this level, by heading, in order."""
    _, *parts = re.split(rf"^{level} ", text, flags=re.MULTILINE)
    return {heading.strip(): body for heading, _, body in (part.partition("\n") for part in parts)}


def releases() -> Sections:
    text = CHANGELOG.read_text(encoding="utf-8")
    return {heading: body for heading, body in sections(text, "##").items() if heading != "Unreleased"}


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def test_what_is_not_released_yet_comes_first() -> None:
    assert next(iter(sections(CHANGELOG.read_text(encoding="utf-8"), "##"))) == "Unreleased"


def test_the_newest_release_is_this_version() -> None:
    newest = next(iter(releases()))
    assert newest.split(" - ")[0] == vmsdk.__version__


def test_each_release_has_a_number_and_a_day_and_is_newer_than_the_next() -> None:
    headings = [heading.split(" - ") for heading in releases()]
    versions = [number(version) for version, _ in headings]
    days = [date.fromisoformat(day) for _, day in headings]
    assert versions == sorted(set(versions), reverse=True)
    assert days == sorted(days, reverse=True)


def test_each_release_has_entries_and_only_of_the_six_kinds() -> None:
    for heading, body in releases().items():
        kinds = sections(body, "###")
        assert kinds, f"{heading} tells nothing"
        assert set(kinds) <= KINDS
        for kind, entries in kinds.items():
            assert re.search(r"^- \S", entries, re.MULTILINE), f"{heading}, {kind}: no entry"
