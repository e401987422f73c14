"""Bloom filters, and the handler IDs in front of messages, for any input."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vmsdk.errors import InvalidInput
from vmsdk.p2p.bloom import Filter, hash_of
from vmsdk.p2p.network import prefix, read_prefix

seeds = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=16)
hashes = st.integers(0, 2**64 - 1)


@given(seeds, st.binary(min_size=1, max_size=200), st.lists(hashes))
def test_a_filter_contains_what_was_added_after_a_journey_too(
    seeds: list[int], entries: bytes, added: list[int]
) -> None:
    ours = Filter(seeds, entries)
    for each in added:
        ours.add(each)
    received = Filter.from_bytes(bytes(ours))
    assert all(each in received for each in added)
    assert ours.count <= len(set(added))
    assert bytes(received) == bytes(ours)


@given(st.sets(st.binary(), max_size=50), st.binary(min_size=32, max_size=32))
def test_a_filter_of_the_right_size_contains_little_else(keys: set[bytes], salt: bytes) -> None:
    ours = Filter.sized(100, 0.000_001)
    for key in keys:
        ours.add(hash_of(key, salt))
    mistakes = sum(hash_of(b"%d" % number, salt) in ours for number in range(100, 200))
    assert mistakes <= len(keys & {b"%d" % number for number in range(100, 200)}) + 3


@given(st.binary(max_size=300))
def test_any_bytes_are_a_filter_or_are_refused(data: bytes) -> None:
    try:
        received = Filter.from_bytes(data)
    except InvalidInput:
        assert not data or not 1 <= data[0] <= 16 or len(data) <= 1 + 8 * data[0]
        return
    assert bytes(received) == data
    assert (0 in received) in (True, False)


@given(st.integers(0, 2**64 - 1), st.binary())
def test_a_handler_id_is_read_as_it_was_written(handler_id: int, payload: bytes) -> None:
    encoded = prefix(handler_id)
    assert read_prefix(encoded + payload) == (handler_id, len(encoded))


@given(st.binary(max_size=20))
def test_any_bytes_have_a_handler_id_or_none(message: bytes) -> None:
    handler_id, length = read_prefix(message)
    assert 0 <= handler_id < 2**64
    assert 0 <= length <= min(len(message), 10)
