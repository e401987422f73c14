"""Bloom filters, beside what Go's `utils/bloom` makes of the same input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vmsdk.errors import InvalidInput
from vmsdk.p2p.bloom import Filter, hash_of, optimal_entries, optimal_hashes

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "bloom.json").read_text("utf-8"))


@pytest.mark.parametrize("vector", VECTORS["filters"], ids=lambda vector: f"{vector['hashes']}-hashes")
def test_a_filter_has_gos_bytes(vector: dict[str, object]) -> None:
    empty, full = (bytes.fromhex(str(vector[name])) for name in ("empty", "full"))
    salt = bytes.fromhex(str(vector["salt"]))
    keys = [bytes.fromhex(key) for key in vector["keys"]]  # type: ignore[attr-defined]
    ours = Filter.from_bytes(empty)
    for key in keys:
        ours.add(hash_of(key, salt))
    assert bytes(ours) == full
    assert ours.count == vector["count"]
    others = [bytes.fromhex(key) for key in vector["others"]]  # type: ignore[attr-defined]
    assert [hash_of(key, salt) in Filter.from_bytes(full) for key in others] == vector["contains"]


def test_sizes_are_gos() -> None:
    for count, percent, entries, hashes, capacity in VECTORS["sizes"]:
        assert optimal_entries(count, percent / 100) == entries
        assert optimal_hashes(entries, count) == hashes
        ours = Filter([0] * hashes, bytes(entries))
        assert ours.capacity(percent / 100) == capacity


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "invalid num hashes: 0"),
        (b"\0" + bytes(20), "invalid num hashes: 0"),
        (b"\x11" + bytes(200), "invalid num hashes: 17"),
        (b"\x01" + bytes(8), "too few entries: 9 bytes"),
        (b"\x10" + bytes(8), "too few entries: 9 bytes"),
    ],
)
def test_bytes_that_are_not_a_filter_are_refused(data: bytes, rule: str) -> None:
    with pytest.raises(InvalidInput, match=rule):
        Filter.from_bytes(data)
