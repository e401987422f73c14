"""Tables and counters behave like a sorted dictionary."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from vmsdk.chain import I8, I64, U8, U64, U256, Bytes20, Fixed, Max, Overlay, Table
from vmsdk.chain.accepted import AcceptedState
from vmsdk.errors import NotFound
from vmsdk.ids import ID
from vmsdk.memorydb import MemoryDatabase


class Size(enum.IntEnum):
    SMALL = 3
    LARGE = 9


@dataclass(frozen=True)
class Account:
    balance: U256 = 0
    name: Annotated[str, Max(40)] = ""


def integers(bits: int, *, signed: bool = False) -> st.SearchStrategy[int]:
    return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1) if signed else st.integers(0, (1 << bits) - 1)


TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
# A type of keys, its values, and what their order is that of.
KEYS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (U8, integers(8)),
    (U64, integers(64)),
    (U256, integers(256)),
    (I8, integers(8, signed=True)),
    (I64, integers(64, signed=True)),
    (bool, st.booleans()),
    (Size, st.sampled_from(Size)),
    (Annotated[bytes, Fixed(3)], st.binary(min_size=3, max_size=3)),
    (ID, st.binary(min_size=32, max_size=32).map(ID)),
    (bytes, st.binary(max_size=4)),
    (str, TEXT),
    (tuple[I8, bool, str], st.tuples(integers(8, signed=True), st.booleans(), TEXT)),
    (tuple[U8, I64], st.tuples(integers(8), integers(64, signed=True))),
]


@pytest.mark.parametrize(("key_type", "keys"), KEYS, ids=[str(key_type) for key_type, _ in KEYS])
@given(data=st.data())
@settings(max_examples=60)
def test_entries_come_back_in_the_order_of_their_keys(
    key_type: Any, keys: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    entries = data.draw(st.dictionaries(keys, integers(8), max_size=8))
    start = data.draw(st.none() | keys)
    table: Table[Any, int] = Table(b"t/", key_type, U8)
    view = table.of(Overlay(AcceptedState(MemoryDatabase())))
    for key, value in entries.items():
        view[key] = value
    expected = sorted(entries.items(), key=lambda pair: pair[0])
    assert list(view.scan()) == expected
    assert (
        list(view.scan(start=start, limit=3))
        == [pair for pair in expected if start is None or pair[0] >= start][:3]
    )
    for key, _ in view.scan():
        assert type(key) is type(next(each for each in entries if each == key))


addresses = st.sampled_from([bytes(20), b"\x01" * 20, b"\xff" * 20])
numbers = st.integers(-2, 2)
accounts = st.builds(Account, integers(256), TEXT)
Key = tuple[Bytes20, I8]


class Model(RuleBasedStateMachine):
    """Run operations in any order on two tables of a state and on plain dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.state = Overlay(AcceptedState(MemoryDatabase()))
        self.table = Table(b"a/", tuple[Bytes20, I8], Account)
        self.with_default = Table(b"b/", Bytes20, Account, default=Account(7))
        self.model: dict[tuple[bytes, int], Account] = {}
        self.others: dict[bytes, Account] = {}

    @rule(address=addresses, number=numbers, account=accounts)
    def put(self, address: bytes, number: int, account: Account) -> None:
        self.table.of(self.state)[address, number] = account
        self.model[address, number] = account

    @rule(address=addresses, account=accounts)
    def put_other(self, address: bytes, account: Account) -> None:
        self.with_default.of(self.state)[address] = account
        self.others[address] = account

    @rule(address=addresses, number=numbers)
    def delete(self, address: bytes, number: int) -> None:
        del self.table.of(self.state)[address, number]
        self.model.pop((address, number), None)

    @rule(address=addresses, number=numbers)
    def get(self, address: bytes, number: int) -> None:
        view, key = self.table.of(self.state), (address, number)
        assert view.get(key) == self.model.get(key)
        assert (key in view) == (key in self.model)
        if key in self.model:
            assert view[key] == self.model[key]
        else:
            with pytest.raises(NotFound, match="has no entry"):
                view[key]

    @rule(address=addresses)
    def get_other(self, address: bytes) -> None:
        view = self.with_default.of(self.state)
        assert view[address] == view.get(address) == self.others.get(address, Account(7))
        assert (address in view) == (address in self.others)

    @rule(address=addresses, number=st.none() | numbers, limit=st.none() | st.integers(0, 3))
    def scan_of_one(self, address: bytes, number: int | None, limit: int | None) -> None:
        start = None if number is None else (address, number)
        expected = sorted(
            (key, value)
            for key, value in self.model.items()
            if key[0] == address and (number is None or key[1] >= number)
        )
        assert list(self.table.of(self.state).scan(address, start=start, limit=limit)) == expected[:limit]

    @rule()
    def nest(self) -> None:
        self.state = Overlay(self.state)

    @invariant()
    def all_entries_are_there(self) -> None:
        assert list(self.table.of(self.state).scan()) == sorted(self.model.items(), key=lambda pair: pair[0])
        assert dict(self.with_default.of(self.state).scan()) == self.others


TestModel = Model.TestCase
