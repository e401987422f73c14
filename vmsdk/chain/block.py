"""The blocks of a chain and their encoding."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from vmsdk.errors import InvalidBlock
from vmsdk.ids import ID

# The encoding, big-endian: version, parent ID, height, timestamp, whether there is a P-chain
# height, that height or 0, effects, number of transactions; then the length (u32) and the bytes of
# each transaction.
_PREFIX = struct.Struct(">H32sQQBQ32sI")
_LENGTH = struct.Struct(">I")
_VERSION = 0

MAX_TIMESTAMP_MS = 253_402_300_799_999
"""The end of the year 9999, the last moment that the protocol can carry."""

MAX_TOPIC_BYTES = 255

BLOCK_OVERHEAD_BYTES = _PREFIX.size
"""The bytes of a block without its transactions."""

TRANSACTION_OVERHEAD_BYTES = _LENGTH.size
"""The bytes that each transaction takes in addition to its own."""


class Header(NamedTuple):
    """What the rules see of the block that contains a transaction."""

    parent_id: ID
    """32 bytes. The genesis block has the SHA-256 of the genesis data here."""

    height: int
    """0 for the genesis block, then one more than the parent's."""

    timestamp: int
    """Milliseconds since 1970-01-01T00:00:00Z, not before the parent's: the rules' only clock."""

    p_chain_height: int | None = None
    """The P-chain height at which validator sets are looked up; None unless the chain is also a
    `BuildBlockWithContext`.
    """


class Event(NamedTuple):
    """What `State.emit` records: an entry of a receipt."""

    topic: bytes
    """1 to 255 bytes, by which `Chain.events` finds it."""

    data: bytes


def as_topic(topic: bytes | str) -> bytes:
    """An event's topic as bytes. Raises `ValueError` unless it has 1 to 255."""
    if type(topic) is bytes and 0 < len(topic) <= MAX_TOPIC_BYTES:  # the usual case, fast
        return topic
    if not isinstance(topic, (bytes, str)):
        raise TypeError(f"a topic must be bytes or a str, not {topic!r} of type {type(topic).__name__}")
    encoded = topic.encode() if isinstance(topic, str) else topic
    if not 1 <= len(encoded) <= MAX_TOPIC_BYTES:
        raise ValueError(f"a topic must have 1 to {MAX_TOPIC_BYTES} bytes, but {topic!r} has {len(encoded)}")
    return encoded


@dataclass(frozen=True)
class Block:
    """A block, as it is stored and sent to peers."""

    header: Header

    effects: bytes
    """32 bytes: the SHA-256 of all writes and events of the block, in order. If execution differs
    between two nodes, one of them refuses the block.
    """

    transactions: tuple[bytes, ...]
    """The encoded transactions, in the order of execution."""

    @property
    def parent_id(self) -> ID:
        """The ID of the parent block."""
        return self.header.parent_id

    @property
    def height(self) -> int:
        """0 for the genesis block, then one more than the parent's."""
        return self.header.height

    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970-01-01T00:00:00Z."""
        return self.header.timestamp

    @cached_property
    def raw(self) -> bytes:
        """The encoding of the block."""
        header = self.header
        parts = [
            _PREFIX.pack(
                _VERSION,
                header.parent_id,
                header.height,
                header.timestamp,
                header.p_chain_height is not None,
                header.p_chain_height or 0,
                self.effects,
                len(self.transactions),
            )
        ]
        for transaction in self.transactions:
            parts += (_LENGTH.pack(len(transaction)), transaction)
        return b"".join(parts)

    @cached_property
    def id(self) -> ID:
        """The SHA-256 of `raw`."""
        return ID.of(self.raw)

    @cached_property
    def transaction_ids(self) -> tuple[ID, ...]:
        """The SHA-256 of each transaction."""
        return tuple(map(ID.of, self.transactions))

    @classmethod
    def from_bytes(cls, raw: bytes) -> Block:
        """Decode a block. Raises `InvalidBlock` unless *raw* is exactly the encoding of one."""
        if len(raw) < _PREFIX.size:
            raise InvalidBlock(f"{len(raw)} bytes are too few for a block's header of {_PREFIX.size}")
        version, parent_id, height, timestamp, has_p_chain, p_chain, effects, count = _PREFIX.unpack_from(raw)
        if version != _VERSION:
            raise InvalidBlock(f"unknown block version {version}: this chain has version {_VERSION}")
        if timestamp > MAX_TIMESTAMP_MS:
            raise InvalidBlock(f"timestamp {timestamp} ms is after the year 9999")
        if has_p_chain > 1 or (not has_p_chain and p_chain):
            raise InvalidBlock(f"the P-chain height {p_chain} has the flag {has_p_chain}")
        if count * _LENGTH.size > len(raw) - _PREFIX.size:
            raise InvalidBlock(f"{len(raw)} bytes are too few for {count} transactions")
        transactions = []
        offset = _PREFIX.size
        for index in range(count):
            start = offset + _LENGTH.size
            if start > len(raw):
                raise InvalidBlock(f"the block ends within transaction {index} of {count}")
            offset = start + _LENGTH.unpack_from(raw, start - _LENGTH.size)[0]
            if offset > len(raw):
                raise InvalidBlock(f"the block ends within transaction {index} of {count}")
            transactions.append(raw[start:offset])
        if offset != len(raw):
            raise InvalidBlock(f"{len(raw) - offset} bytes follow the block")
        header = Header(ID(parent_id), height, timestamp, p_chain if has_p_chain else None)
        block = cls(header, effects, tuple(transactions))
        block.__dict__["raw"] = raw  # the encoding is canonical
        return block


def effects_of(
    writes: Mapping[bytes, bytes | None],
    results: Iterable[bytes | None],
    events: Sequence[Sequence[Event]],
) -> bytes:
    """The SHA-256 of a block's writes, in the order in which the keys were first written, of the
    results of its transactions, and of their events.
    """
    parts = [_LENGTH.pack(len(writes))]
    pack = _LENGTH.pack
    for key, value in writes.items():
        if value is None:
            parts += (pack(len(key)), key, b"\0")
        else:
            parts += (pack(len(key)), key, b"\1", pack(len(value)), value)
    for result in results:
        if result is not None:
            parts += (b"\2", pack(len(result)), result)
    for group in events:
        for event in group:
            parts += (b"\3", pack(len(event.topic)), event.topic, pack(len(event.data)), event.data)
    return hashlib.sha256(b"".join(parts)).digest()
