"""The table of checks in docs/check.md. `python -m tests.conformance.table` writes it."""

from __future__ import annotations

from pathlib import Path

from vmsdk.testing.contract import all_checks

PAGE = Path(__file__).parents[2] / "docs" / "check.md"
HEAD = "| check | severity | rule |\n|---|---|---|\n"


def table() -> str:
    """Return the table."""
    return HEAD + "".join(
        f"| `{check.name}` | {check.severity.value} | {check.reason}{' (slow)' if check.slow else ''} |\n"
        for check in all_checks()
    )


def main() -> None:
    """Replace the table, which ends the page."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page[: page.index(HEAD)] + table(), encoding="utf-8")


if __name__ == "__main__":
    main()
