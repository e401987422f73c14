"""Stores accepted blocks, the receipts of their transactions, and indexes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

from vmsdk.chain.block import Block, Event
from vmsdk.chain.state import as_height, as_limit
from vmsdk.database import Batch, Database
from vmsdk.errors import InvalidInput, NotFound
from vmsdk.ids import ID

_BLOCK = b"b"  # height -> the block's bytes
_HEIGHT = b"i"  # block ID -> height
_TRANSACTION = b"t"  # transaction ID -> height, index within the block
_OUTCOMES = b"r"  # height -> results and events, if there are any
_TOPIC = b"e"  # length of the topic, topic, height -> nothing
_LAST = b"mlast"  # the ID of the last accepted block
_OLDEST_BLOCK = b"moldest block"
_OLDEST_RECEIPT = b"moldest receipt"

_U64 = struct.Struct(">Q")
_U32 = struct.Struct(">I")
_PLACE = struct.Struct(">QI")
_NO_RESULT = 0xFFFFFFFF

# Blocks are pruned in batches of this many, rather than one with each accepted block.
PRUNE_BLOCKS = 128
# How many of them are in memory at once: a block may have 2 MiB.
PRUNE_READ_BLOCKS = 8


@dataclass(frozen=True)
class Outcomes:
    """The results and events of a block's transactions."""

    results: tuple[bytes | None, ...] = ()
    """For each transaction, what `execute` returned."""

    events: tuple[tuple[Event, ...], ...] = ()
    """The events of each transaction, followed by those of `begin` and `end` together."""


@dataclass(frozen=True)
class Receipt:
    """The outcome of an accepted transaction."""

    transaction_id: ID
    block_id: ID
    height: int
    index: int
    """The transaction's position in its block, from 0."""
    result: bytes | None
    """What `execute` returned."""
    events: tuple[Event, ...]


@dataclass(frozen=True)
class LoggedEvent:
    """An event and its position in the chain."""

    height: int
    index: int | None
    """The transaction's position in its block; None for an event of `begin` or `end`."""
    transaction_id: ID | None
    event: Event


class History:
    """Reads and writes accepted blocks and receipts. Any thread may read.

    With *blocks*, only that many blocks are kept; with *receipts*, only the receipts and indexes of
    that many blocks.
    """

    def __init__(self, database: Database, *, blocks: int | None = None, receipts: int | None = None) -> None:
        self._database = database
        self._keep = {_OLDEST_BLOCK: blocks, _OLDEST_RECEIPT: receipts}

    # Reading --------------------------------------------------------------------------------------

    def last_id(self) -> ID | None:
        """The ID of the last accepted block; None in an empty database."""
        stored = self._database.get(_LAST)
        return None if stored is None else ID(stored)

    def height_of(self, block_id: ID) -> int:
        """The height of an accepted block. Raises `NotFound`."""
        stored = self._database.get(_HEIGHT + block_id)
        if stored is None:
            raise NotFound(f"no accepted block {block_id}")
        return int(_U64.unpack(stored)[0])

    def block(self, block_id: ID) -> Block:
        """An accepted block. Raises `NotFound`."""
        return self.block_at(self.height_of(block_id))

    def block_at(self, height: int) -> Block:
        """The accepted block at *height*. Raises `NotFound` if there is none or it is pruned."""
        raw = self._database.get(_BLOCK + _u64(height))
        if raw is None:
            raise NotFound(f"no accepted block at height {height}")
        return Block.from_bytes(raw)

    def blocks(self, start: int, limit: int) -> list[Block]:
        """At most *limit* accepted blocks from height *start* on."""
        with self._database.iterate(prefix=_BLOCK, start=_BLOCK + _u64(as_height(start))) as pairs:
            return [Block.from_bytes(raw) for _, raw in islice(pairs, as_limit(limit))]

    def raw_before(self, height: int, count: int) -> list[bytes]:
        """The encoded blocks at *height*, *height* - 1 and so on: at most *count*, up to the first
        that is not stored.
        """
        heights = range(height, max(height - count, -1), -1)
        found = self._database.get_many([_BLOCK + _u64(each) for each in heights])
        return [raw for raw in takewhile(bool, found) if raw]

    def receipt(self, transaction_id: ID) -> Receipt:
        """The receipt of a transaction, in the last block that contains it.

        Raises `NotFound` if no accepted block contains it, or if its receipt is pruned.
        """
        stored = self._database.get(_TRANSACTION + transaction_id)
        if stored is None:
            raise NotFound(f"no accepted block has the transaction {transaction_id}")
        height, index = _PLACE.unpack(stored)
        raw, outcomes = self._database.get_many([_BLOCK + stored[:8], _OUTCOMES + stored[:8]])
        if raw is None:
            raise NotFound(f"the block of the transaction {transaction_id} is pruned")
        result, events = None, ()
        if outcomes is not None:
            decoded = _decode(outcomes)
            result, events = decoded.results[index], decoded.events[index]
        return Receipt(transaction_id, ID.of(raw), height, index, result, events)

    def events(self, topic: bytes, start: int, stop: int, limit: int) -> list[LoggedEvent]:
        """At most *limit* events of *topic* from height *start* up to, but not at, *stop*."""
        found: list[LoggedEvent] = []
        limit, stop = as_limit(limit), as_height(stop, "stop")
        prefix = _TOPIC + bytes([len(topic)]) + topic
        with self._database.iterate(prefix=prefix, start=prefix + _u64(as_height(start))) as pairs:
            for key, _ in pairs:
                height = int(_U64.unpack(key[len(prefix) :])[0])
                if height >= stop or len(found) >= limit:
                    break
                found += self._events_at(height, topic)
        return found[:limit]

    def _events_at(self, height: int, topic: bytes) -> list[LoggedEvent]:
        raw, outcomes = self._database.get_many([_BLOCK + _u64(height), _OUTCOMES + _u64(height)])
        if raw is None or outcomes is None:
            return []
        ids = Block.from_bytes(raw).transaction_ids
        return [
            LoggedEvent(
                height,
                index if index < len(ids) else None,
                ids[index] if index < len(ids) else None,
                event,
            )
            for index, group in enumerate(_decode(outcomes).events)
            for event in group
            if event.topic == topic
        ]

    # Writing --------------------------------------------------------------------------------------

    def add(self, batch: Batch, block: Block, outcomes: Outcomes) -> None:
        """Add *block*, its receipts and indexes to *batch*, as the last accepted block."""
        height = _u64(block.height)
        self._add_block(batch, block)
        for index, transaction_id in enumerate(block.transaction_ids):
            batch.put(_TRANSACTION + transaction_id, height + _U32.pack(index))
        topics = {event.topic for group in outcomes.events for event in group}
        if topics or any(result is not None for result in outcomes.results):
            batch.put(_OUTCOMES + height, _encode(outcomes))
            for topic in sorted(topics):
                batch.put(_TOPIC + bytes([len(topic)]) + topic + height, b"")

    def jump(self, batch: Batch, block: Block) -> None:
        """Add *block*, the target of a state sync, to *batch*, as the last accepted block.

        There is nothing to prune before it.
        """
        self._add_block(batch, block)
        for marker in self._keep:
            batch.put(marker, _u64(block.height))

    def _add_block(self, batch: Batch, block: Block) -> None:
        height = _u64(block.height)
        batch.put(_BLOCK + height, block.raw)
        batch.put(_HEIGHT + block.id, height)
        batch.put(_LAST, block.id)

    def prune(self, last_height: int, needed: Iterable[int] = ()) -> None:
        """Delete old blocks and receipts in one batch, once there are enough.

        Keeps those from each height in *needed* on, unless it is already pruned.
        """
        firsts = [max(each, 1) for each in needed]  # the genesis block is never pruned
        for marker, keep in self._keep.items():
            if keep is None:
                continue
            stored = self._database.get(marker)
            oldest = 1 if stored is None else int(_U64.unpack(stored)[0])
            kept = (first for first in firsts if first >= oldest)
            stop = min(last_height - keep + 1, oldest + PRUNE_BLOCKS, *kept)
            if stop < oldest + PRUNE_BLOCKS:
                continue
            with self._database.batch() as batch:
                for start in range(oldest, stop, PRUNE_READ_BLOCKS):
                    for block in self.blocks(start, PRUNE_READ_BLOCKS):
                        if block.height >= min(start + PRUNE_READ_BLOCKS, stop):
                            break
                        if marker == _OLDEST_BLOCK:
                            batch.delete(_BLOCK + _u64(block.height))
                            batch.delete(_HEIGHT + block.id)
                        self._delete_receipts(batch, block)
                batch.put(marker, _u64(stop))

    def _delete_receipts(self, batch: Batch, block: Block) -> None:
        height = _u64(block.height)
        places = self._database.get_many([_TRANSACTION + each for each in block.transaction_ids])
        for transaction_id, place in zip(block.transaction_ids, places, strict=True):
            # A later block may contain the same bytes.
            if place is not None and place[:8] == height:
                batch.delete(_TRANSACTION + transaction_id)
        outcomes = self._database.get(_OUTCOMES + height)
        if outcomes is not None:
            batch.delete(_OUTCOMES + height)
            for topic in {event.topic for group in _decode(outcomes).events for event in group}:
                batch.delete(_TOPIC + bytes([len(topic)]) + topic + height)


def _u64(number: int) -> bytes:
    try:
        return _U64.pack(number)
    except struct.error:
        raise NotFound(f"no block has height {number}") from None


def _encode(outcomes: Outcomes) -> bytes:
    parts = [_U32.pack(len(outcomes.results))]
    for result in outcomes.results:
        parts += (_U32.pack(_NO_RESULT),) if result is None else (_U32.pack(len(result)), result)
    parts.append(_U32.pack(len(outcomes.events)))
    for group in outcomes.events:
        parts.append(_U32.pack(len(group)))
        for event in group:
            parts += (bytes([len(event.topic)]), event.topic, _U32.pack(len(event.data)), event.data)
    return b"".join(parts)


def _decode(raw: bytes) -> Outcomes:
    """The outcomes in *raw*, which is this node's own encoding."""
    offset = 0

    def take(length: int) -> bytes:
        nonlocal offset
        offset += length
        if offset > len(raw):
            raise InvalidInput("the database is damaged", "a receipt ends too early")
        return raw[offset - length : offset]

    def number() -> int:
        return int(_U32.unpack(take(4))[0])

    results: list[bytes | None] = []
    for _ in range(number()):
        length = number()
        results.append(None if length == _NO_RESULT else take(length))
    groups: list[Sequence[Event]] = []
    for _ in range(number()):
        groups.append([Event(take(take(1)[0]), take(number())) for _ in range(number())])
    return Outcomes(tuple(results), tuple(map(tuple, groups)))
