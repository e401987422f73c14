"""CB58 and the string form of identifiers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsdk import cb58
from vmsdk.errors import InvalidInput
from vmsdk.ids import ID, NodeID

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@given(st.binary(max_size=100))
def test_bytes_survive_cb58(data: bytes) -> None:
    assert cb58.decode(cb58.encode(data)) == data


@given(st.text(ALPHABET) | st.text())
def test_any_string_is_cb58_or_is_refused(text: str) -> None:
    try:
        data = cb58.decode(text)
    except InvalidInput:
        return
    assert cb58.encode(data) == text


@given(st.binary(min_size=32, max_size=32), st.integers(0, 51), st.sampled_from(ALPHABET))
def test_a_changed_character_is_noticed(data: bytes, position: int, character: str) -> None:
    text = cb58.encode(data)
    changed = text[:position] + character + text[position + 1 :]
    if changed != text:
        with pytest.raises(InvalidInput):
            cb58.decode(changed)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=20, max_size=20))
def test_identifiers_survive_their_string_form(chain: bytes, node: bytes) -> None:
    assert ID.from_string(str(ID(chain))) == chain
    assert NodeID.from_string(str(NodeID(node))) == node


@given(st.text() | st.binary(max_size=40).map(cb58.encode) | st.text(ALPHABET).map("NodeID-".__add__))
def test_any_string_is_an_identifier_or_is_refused(text: str) -> None:
    for kind in (ID, NodeID):
        try:
            identifier = kind.from_string(text)
        except InvalidInput:
            continue
        assert str(identifier) == text
