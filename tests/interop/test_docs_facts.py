"""What docs/limits.md and docs/troubleshooting.md quote from the node is in its sources."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.docs.test_pages import UNITS, fragments, headings, headings_of_vmsdk, our_texts

from .nodes import AVALANCHEGO, NEWEST

DOCS = ROOT / "docs"
LIMITS = re.findall(
    r"^\| [^|]+ \| ([\d,.]+) ?(\w*) \|[^|]*\| `([\w/.]+\.go): (\w+)` \|$",
    (DOCS / "limits.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)
GO_UNITS = {
    "units.KiB": 2**10, "units.MiB": 2**20, "time.Second": 1, "time.Minute": 60,
}  # fmt: skip
OLD = ("handshake failed: timeout", "protocol version mismatch metalgo")
"""Of nodes whose sources Go's proxy does not have, or has not for our protocols."""


@pytest.fixture(scope="module")
def sources() -> Path:
    """The directory of the newest node's sources."""
    module = f"{AVALANCHEGO}@{NEWEST.version}"
    listed = subprocess.run(
        ["go", "mod", "download", "-json", module], check=True, capture_output=True, text=True
    )
    found = re.search(r'"Dir": "(.*)"', listed.stdout)
    assert found is not None
    return Path(found[1])


@pytest.mark.parametrize(("number", "unit", "file", "name"), LIMITS, ids=[name for *_, name in LIMITS])
def test_a_limit_of_the_node_has_the_value_of_its_source(
    sources: Path, number: str, unit: str, file: str, name: str
) -> None:
    found = re.search(rf"\b{name} += (.+)", (sources / file).read_text(encoding="utf-8"))
    assert found is not None
    value = 1
    for factor in found[1].split(" * "):
        value *= GO_UNITS.get(factor) or int(factor)
    assert float(number.replace(",", "")) * UNITS[unit] == value


def test_a_message_of_the_node_is_quoted_as_it_is_written(sources: Path) -> None:
    go = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("api", "app", "chains", "config", "database", "node", "snow", "utils", "vms")
        for path in (sources / folder).rglob("*.go")
    )
    ours = headings_of_vmsdk(our_texts())
    wanted = [each for each in headings() if each not in ours and not any(old in each for old in OLD)]
    assert wanted
    missing = [message for message in wanted for part in fragments(message) if not quoted(part, go)]
    assert missing == []


def quoted(part: str, go: str) -> bool:
    """Whether Go's sources have the text; an error may be wrapped in another by `: `."""
    return all(f'"{each}' in go or each in go for each in re.split(r": ", part))
