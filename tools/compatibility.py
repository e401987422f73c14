"""Writes the table of protocols and node releases into README.md, from vmsdk/protocol.py.

`python tools/compatibility.py` writes it; `--check` writes nothing and exits with status 1 if it is stale.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from vmsdk.protocol import PROTOCOLS, Protocol

README = Path(__file__).resolve().parents[1] / "README.md"
NODES = ("AvalancheGo", "MetalGo")

_BEGIN = "<!-- made by tools/compatibility.py -->"
_END = "<!-- end -->"
_RANGE = re.compile(r"-(?=\d)")


def table() -> str:
    """The table in Markdown, the newest protocol first."""
    rows = [("protocol", *NODES), ("---",) * (1 + len(NODES))]
    for protocol in sorted(PROTOCOLS.values(), key=lambda each: each.version, reverse=True):
        rows.append((str(protocol.version), *(_releases(protocol, node) for node in NODES)))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def with_table(text: str) -> str:
    """*text* with the table between its two markers. Raises `ValueError` if they aren't there."""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the table has no place: {_BEGIN} and {_END} mark it")
    return f"{before}{begin}\n{table()}{end}{after}"


def _releases(protocol: Protocol, node: str) -> str:
    found = [release.removeprefix(f"{node} ") for release in protocol.releases if release.startswith(node)]
    return ", ".join(_RANGE.sub(" \N{EN DASH} ", release) for release in found)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if README.md is stale")
    check = parser.parse_args().check
    old = README.read_text(encoding="utf-8")
    new = with_table(old)
    if old == new:
        return 0
    if check:
        print("the table in README.md is stale: python tools/compatibility.py", file=sys.stderr)
        return 1
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
