"""Bloom filters, compatible with AvalancheGo's `utils/bloom`.

A filter is encoded as the number of hash functions (1 byte, 1 to 16), a seed for each (8 bytes,
big-endian) and the entries (1 byte or more). Bit *i* of the entries is bit `i % 8` of byte
`i // 8`.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
from collections.abc import Sequence

from vmsdk.errors import InvalidInput

MAX_HASHES = 16
_MASK = (1 << 64) - 1


class Filter:
    """A set of 64-bit hashes, with false positives. Not thread-safe."""

    def __init__(self, seeds: Sequence[int], entries: bytes) -> None:
        self._seeds = tuple(seeds)
        self._entries = bytearray(entries)
        self._bits = 8 * len(entries)
        self.count = 0
        """How many hashes were added that the filter did not already contain."""

    @classmethod
    def sized(cls, count: int, false_positives: float) -> Filter:
        """An empty filter with random seeds, sized for *count* hashes.

        *false_positives* is the rate with that many hashes, between 0 and 1.
        """
        entries = optimal_entries(count, false_positives)
        hashes = optimal_hashes(entries, count)
        return cls(struct.unpack(f">{hashes}Q", os.urandom(8 * hashes)), bytes(entries))

    @classmethod
    def from_bytes(cls, data: bytes) -> Filter:
        """Read a filter. Raises `InvalidInput`."""
        hashes = data[0] if data else 0
        if not 1 <= hashes <= MAX_HASHES:
            raise InvalidInput("invalid num hashes", f"{hashes} is not within 1 to {MAX_HASHES}")
        start = 1 + 8 * hashes
        if len(data) <= start:
            raise InvalidInput(
                "too few entries", f"{len(data)} bytes leave no entries after {hashes} hash seeds"
            )
        return cls(struct.unpack_from(f">{hashes}Q", data, 1), data[start:])

    def __bytes__(self) -> bytes:
        hashes = len(self._seeds)
        return struct.pack(f">B{hashes}Q", hashes, *self._seeds) + self._entries

    def add(self, hash: int) -> None:
        """Add a hash that `hash_of` has returned."""
        new = False
        for seed in self._seeds:
            hash = ((hash << 17 | hash >> 47) & _MASK) ^ seed
            index = hash % self._bits
            bit = 1 << (index & 7)
            new |= not self._entries[index >> 3] & bit
            self._entries[index >> 3] |= bit
        self.count += new

    def __contains__(self, hash: int) -> bool:
        entries, bits = self._entries, self._bits
        for seed in self._seeds:
            hash = ((hash << 17 | hash >> 47) & _MASK) ^ seed
            index = hash % bits
            if not entries[index >> 3] >> (index & 7) & 1:
                return False
        return True

    def capacity(self, false_positives: float) -> int:
        """The number of hashes at which the rate of false positives is *false_positives*."""
        hashes = len(self._seeds)
        exponent = 1 - false_positives ** (1 / hashes)
        return math.ceil(-math.log(exponent) * self._bits * (1 / hashes))


def hash_of(key: bytes, salt: bytes) -> int:
    """The hash of a key: the first 8 bytes of the SHA-256 of key and salt, big-endian."""
    return int.from_bytes(hashlib.sha256(key + salt).digest()[:8], "big")


def optimal_entries(count: int, false_positives: float) -> int:
    """The bytes of entries that *count* hashes need for this rate of false positives."""
    if count <= 0:
        return 1
    bits = -count * math.log(false_positives) / (math.log(2) * math.log(2))
    return max(int((bits + 7) / 8), 1)


def optimal_hashes(entries: int, count: int) -> int:
    """The number of hash functions that minimises false positives with *count* hashes."""
    if count <= 0:
        return MAX_HASHES
    return max(min(math.ceil(entries * 8 * math.log(2) / count), MAX_HASHES), 1)
