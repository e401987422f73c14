"""Tables and counters of a state. A property test compares tables with a dict."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from vmsdk.chain import U8, U64, Counter, Max, Overlay, State, Table
from vmsdk.chain.accepted import AcceptedState
from vmsdk.errors import InvalidEncoding
from vmsdk.memorydb import MemoryDatabase

Few = Annotated[list[U8], Max(3)]


@pytest.fixture
def state() -> State:
    return Overlay(AcceptedState(MemoryDatabase()))


def test_an_entry_is_a_pair_of_the_state(state: State) -> None:
    table = Table(b"t/", tuple[U8, str], U64)
    table.of(state)[1, "é"] = 5
    assert list(state.scan()) == [(b"t/\x01\xc3\xa9", bytes(7) + b"\x05")]
    assert table.key((1, "é")) == b"t/\x01\xc3\xa9"


def test_a_scan_begins_with_some_items_of_the_keys(state: State) -> None:
    names = Table(b"n/", str, U8).of(state)
    for name in ("ada", "adam", "bob"):
        names[name] = len(name)
    assert [name for name, _ in names.scan("ad")] == ["ada", "adam"]
    assert [name for name, _ in names.scan(start="adam")] == ["adam", "bob"]
    with pytest.raises(ValueError, match="start='bob' does not begin with"):
        next(names.scan("ad", start="bob"))
    with pytest.raises(InvalidEncoding, match="is not"):
        next(names.scan("ad", 5))


def test_a_table_keeps_away_from_other_keys(state: State) -> None:
    state[b"s/x"], state[b"u/x"] = b"1", b"2"
    assert list(Table(b"t/", bytes, U8).of(state).scan()) == []


def test_a_default_is_a_value_of_its_own(state: State) -> None:
    table = Table(b"t/", U8, Few, default=[1])
    table.of(state)[5].append(2)
    assert table.of(state)[5] == [1]
    assert list(state.scan()) == []
    with pytest.raises(InvalidEncoding):
        Table(b"t/", U8, U8, default=256)


def test_none_can_be_a_value(state: State) -> None:
    view: Any = Table(b"t/", U8, U8 | None).of(state)  # type: ignore[arg-type]
    view[1] = None
    assert view[1] is None
    assert 1 in view


@pytest.mark.parametrize(
    ("key_type", "text"),
    [
        (float, "float can't be encoded: floats differ"),
        (int, "give its width"),
        (tuple[str, U8], "only the last item of a key may vary in length"),
        (U8 | None, "can't be a key"),
        (Annotated[list[U8], Max(2)], "can't be a key"),
        (tuple[U8, tuple[U8, U8]], "can't be a key"),
    ],
)
def test_types_that_cant_be_keys_are_refused(key_type: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        Table(b"t/", key_type, U8)


def test_values_that_cant_be_encoded_are_refused() -> None:
    with pytest.raises(TypeError, match="floats differ"):
        Table(b"t/", U8, float)


@pytest.mark.parametrize("key", [-1, 256, "a", None, (1, 2), (1, "a", 2), 5, (256, "a"), (1, 5)])
def test_keys_of_another_type_are_refused(key: Any) -> None:
    with pytest.raises(InvalidEncoding, match=r"Table\(b't/'\): .* is not"):
        Table(b"t/", tuple[U8, str], U8).key(key)


def test_bytes_that_are_not_an_entry_are_refused(state: State) -> None:
    state[b"t/\x01\x02"] = b"\x01"
    with pytest.raises(InvalidEncoding, match="the key 0x742f0102 is too long"):
        list(Table(b"t/", U8, U8).of(state).scan())
    state[b"n/\xff"] = b"\x01"
    with pytest.raises(ValueError, match="utf-8"):
        list(Table(b"n/", str, U8).of(state).scan())


def test_a_counter_returns_the_value_before(state: State) -> None:
    counter = Counter(b"count")
    assert [counter.add(state), counter.add(state, 5), counter.add(state, -2)] == [0, 1, 6]
    assert counter.get(state) == 4
    with pytest.raises(ValueError, match="out of range"):
        counter.add(state, -5)
    assert counter.get(state) == 4
