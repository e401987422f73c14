"""The code and the file of docs/upgrades.md work as the text says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.test_readme import ROOT, blocks
from vmsdk.testing import Chain
from vmsdk.upgrades import Upgrades

TEXT = (ROOT / "docs" / "upgrades.md").read_text(encoding="utf-8")
CODE, TEST = blocks("python", TEXT)
(FILE,) = blocks("json", TEXT)


@pytest.fixture
def tokens() -> Any:
    """The class of the page, with a line for what it leaves out."""
    given: dict[str, Any] = {"__name__": __name__}
    exec(CODE.replace("...", "state.put_int(b'fee/' + tx, fee)"), given)
    return given["Tokens"]


def test_the_test_of_the_page_passes_on_the_chain_of_the_page(tokens: Any) -> None:
    found: dict[str, Any] = {}
    exec(TEST.replace("@pytest.fixture\n", ""), found)
    with Chain(tokens, upgrade=found["upgrade"]()) as chain:
        found["test_fees_rise_at_the_activation"](chain)


def test_the_file_of_the_page_is_one(tokens: Any) -> None:
    class Both(tokens):  # type: ignore[misc]
        upgrades = ("fees-v2", "burning")

    table = Upgrades.of(Both(), FILE.encode())
    assert [str(each) for each in table.values()] == ["at 2026-12-01T12:00:00Z", "at height 120000"]
    assert list(json.loads(FILE)) == ["upgrades"]
