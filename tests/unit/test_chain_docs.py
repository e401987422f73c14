"""The code of docs/chain.md runs: its blocks, in order, make chains that do what the text says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.docs.given.chain import Nothing
from tests.unit.chain.engine import Engine
from tests.unit.test_readme import ROOT, blocks
from vmsdk import ID, chain
from vmsdk.chain.keys import Ed25519Key

BLOCKS = blocks("python", (ROOT / "docs" / "chain.md").read_text(encoding="utf-8"))
RULES, STATE, TABLE, TRANSFER, FOLLOWER = BLOCKS


def names(*sources: str, **given: Any) -> dict[str, Any]:
    """What *sources* define. The annotations of a class are looked up in its module: this one."""
    given |= {"chain": chain, "dataclass": dataclass, "__name__": __name__}
    for source in sources:
        exec(compile(source, "docs/chain.md", "exec"), given)
    return given


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """The guest book of the first block, with the index of the last."""
    book = names(RULES)["GuestBook"]
    indexed = names(FOLLOWER)["GuestBook"]
    both = type("Both", (book,), {"followers": indexed.followers})
    started = Engine(both(), chain_data_dir=tmp_path)
    yield started
    started.stop()


def test_the_rules_and_the_index(engine: Engine) -> None:
    with pytest.raises(chain.Invalid, match=r"an entry has 1 to 140 bytes \(length=141\)"):
        engine.vm.submit(b"x" * 141)
    engine.vm.submit(b"hello")
    engine.produce()
    with engine.vm.snapshot() as state:
        assert list(state.scan(b"entry/")) == [(b"entry/" + bytes(8), b"hello")]
    engine.vm.search.wait_for(1, 60)
    with engine.vm.search.read() as db:
        assert db.execute("SELECT * FROM entries").fetchall() == [(1, b"hello")]


def test_the_state() -> None:
    state = chain.Overlay(chain.Overlay(Nothing()))
    names(STATE, state=state)
    assert state.get(b"key") is None
    assert state.get_int(b"count") == 7
    assert state.events == [chain.Event(b"transfer", b"data")]


def test_the_table() -> None:
    state = chain.Overlay(Nothing())
    found = names(TABLE, state=state, address=bytes(20))
    accounts = found["ACCOUNTS"].of(state)
    assert accounts[bytes(20)] == found["Account"](100, 0)
    assert accounts[bytes([1]) * 20] == found["Account"](0, 0)


def test_the_transaction() -> None:
    transfer = names(TRANSFER)["Transfer"]
    signed = transfer(bytes(20), 5, 3).sign(Ed25519Key(bytes(32)), ID(bytes(32)))
    assert transfer.from_bytes(signed.raw) == signed
    assert signed.sequence == 3
    signed.check(ID(bytes(32)))
    with pytest.raises(chain.Invalid, match="another chain"):
        signed.check(ID(bytes([1]) * 32))
