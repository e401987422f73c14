"""Writes the table of protocols and node releases into README.md: from vmsdk/protocol.py, and from
results.json.

`python -m tests.interop.compatibility` writes it; `--check` writes nothing and exits with status 1
if it is stale. results.json is what the interop tests proved (tests/interop/results.py); `--results
PATH` compares it with what a later run proved, and fails if that is not the same.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from vmsdk.protocol import PROTOCOLS, Protocol

README = Path(__file__).resolve().parents[2] / "README.md"
RESULTS = Path(__file__).with_name("results.json")
NODES = ("AvalancheGo", "MetalGo")

_BEGIN = "<!-- made by tests/interop/compatibility.py -->"
_END = "<!-- end -->"
_RANGE = re.compile(r"-(?=\d)")


# What each file of tests proves, in a reader's words.
_AREAS = {
    "process": "handshake",
    "timestamp_vm": "blocks",
    "events": "events",
    "services": "node services",
    "http": "HTTP",
    "everything_vm": "optional interfaces",
    "p2p": "peer messages",
}


def table() -> str:
    """The table in Markdown, the newest protocol first."""
    rows = [("protocol", *NODES, "tested with the code of"), ("---",) * (2 + len(NODES))]
    proved = _proved(json.loads(RESULTS.read_text(encoding="utf-8")))
    for protocol in sorted(PROTOCOLS.values(), key=lambda each: each.version, reverse=True):
        releases = (_releases(protocol, node) for node in NODES)
        rows.append((str(protocol.version), *releases, proved.get(protocol.version, "")))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _proved(results: list[dict[str, Any]]) -> dict[int, str]:
    """For each protocol the releases that the tests ran against, and what they proved."""
    texts: dict[int, list[str]] = {}
    for result in results:
        name = {node.lower(): node for node in NODES}[result["application"]]
        areas = [text for area, text in _AREAS.items() if area in result["passed"]]
        failed = "".join(f"; not: {area}" for area in result["failed"])
        texts.setdefault(result["protocol"], []).append(
            f"{name} {result['version']}: {', '.join(areas)}{failed}"
        )
    return {protocol: "<br>".join(each) for protocol, each in texts.items()}


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
    parser.add_argument("--results", type=Path, help="what a run proved, to be compared with results.json")
    options = parser.parse_args()
    if options.results and json.loads(options.results.read_text()) != json.loads(RESULTS.read_text()):
        print(f"{RESULTS.name} is not what the tests proved: copy {options.results} over it", file=sys.stderr)
        return 1
    old = README.read_text(encoding="utf-8")
    new = with_table(old)
    if old == new:
        return 0
    if options.check:
        print("the table in README.md is stale: python -m tests.interop.compatibility", file=sys.stderr)
        return 1
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
