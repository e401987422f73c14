"""The limits of a chain. All validators must have the same limits for its blocks."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields

from vmsdk.chain.block import BLOCK_OVERHEAD_BYTES, TRANSACTION_OVERHEAD_BYTES

MIB = 1024 * 1024

MAX_BLOCK_BYTES = 2 * MIB - 64 * 1024
"""What fits in a message between nodes, of 2 MiB, together with the node's header and certificate.
Source: constants.DefaultMaxMessageSize in both nodes.
"""

# The limits that all validators must share, and how they are stored.
_RULES = ("block_bytes", "transaction_bytes", "written_bytes")
_STORED = struct.Struct(">3I")


@dataclass(frozen=True)
class Limits:
    """The limits of a chain. To change some, set `limits = chain.Limits(transaction_bytes=140)` on
    the class. Raises `TypeError` or `ValueError` for an invalid value.
    """

    block_bytes: int = MAX_BLOCK_BYTES
    """The maximum size of a block, up to `MAX_BLOCK_BYTES`. Must be the same on all validators."""

    transaction_bytes: int = 64 * 1024
    """The maximum size of a transaction. Must be the same on all validators."""

    written_bytes: int = 16 * MIB
    """What all transactions of a block may write together: keys and values, events, results. A
    transaction that alone writes more is invalid. Must be the same on all validators.
    """

    future_ms: int = 10_000
    """How far ahead of this node's clock a block may be, in milliseconds."""

    build_seconds: float = 0.5
    """For how long transactions are added to a new block."""

    mempool_transactions: int = 16_384
    mempool_bytes: int = 64 * MIB
    """The memory of waiting transactions, encoded and decoded. What they write is limited to the
    same value, or to `written_bytes` if that is higher.
    """
    mempool_per_sender: int = 4_096
    mempool_seconds: float = 600
    """How long a transaction waits for a block before it expires."""

    snapshots: int = 256
    """How many snapshots may be open at the same time."""
    snapshot_seconds: float = 30
    """How long a snapshot can be read."""
    snapshot_blocks: int = 256
    """How many blocks may be accepted until a snapshot can no longer be read."""

    cache_bytes: int = 32 * MIB
    """The memory of the cache of the accepted state."""

    blocks: int | None = None
    """How many accepted blocks to keep; None keeps all. Those that a `Follower` has not yet applied
    are also kept. Peers can't bootstrap pruned blocks from this node.
    """
    receipts: int | None = None
    """For how many blocks to keep receipts and events; None keeps all. Those that a `Follower` has
    not yet applied are also kept.
    """

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None and each.default is None:
                continue
            is_whole = not each.name.endswith("seconds")
            if isinstance(value, bool) or not isinstance(value, int if is_whole else (int, float)):
                raise TypeError(f"{each.name} is {value!r}: set it to a {'whole ' * is_whole}number")
            if not (value >= 0 if each.name in ("future_ms", "cache_bytes") else value > 0):
                raise ValueError(f"{each.name} is {value}: set it to more than 0")
        if self.block_bytes > MAX_BLOCK_BYTES:
            raise ValueError(
                f"block_bytes is {self.block_bytes}, but a message between nodes carries blocks of 1 to "
                f"{MAX_BLOCK_BYTES} bytes"
            )
        room = self.block_bytes - BLOCK_OVERHEAD_BYTES - TRANSACTION_OVERHEAD_BYTES
        if self.transaction_bytes > room:
            raise ValueError(
                f"transaction_bytes is {self.transaction_bytes}, but a block of {self.block_bytes} bytes "
                f"has room for a transaction of {room}"
            )
        if self.written_bytes >= 1 << 32:
            raise ValueError(f"written_bytes is {self.written_bytes}: set it to less than 2**32")
        if self.mempool_bytes < self.transaction_bytes:
            raise ValueError(
                f"mempool_bytes is {self.mempool_bytes}, below the {self.transaction_bytes} of "
                "transaction_bytes"
            )

    @property
    def rules(self) -> bytes:
        """The limits that all validators must share, each as a u32, big-endian."""
        return _STORED.pack(*(getattr(self, name) for name in _RULES))

    def highest(self, before: bytes) -> bytes:
        """Like `rules`, but each limit is at least what it was *before*."""
        return _STORED.pack(*map(max, _STORED.unpack(self.rules), self._unpack(before)))

    def changes(self, before: bytes) -> Iterator[str]:
        """Yield a warning for each limit that differs from those *before*, an earlier `rules`.

        Earlier code did not have `written_bytes`: it stored the other two limits, or none.
        """
        if len(before) < _STORED.size:
            yield (
                f"written_bytes had no limit and is now {self.written_bytes}, so new nodes refuse the "
                "older blocks that exceed it: if there are such, set it to what the largest one writes"
            )
        for name, old in zip(_RULES, self._unpack(before), strict=True):
            new = getattr(self, name)
            if new > old:
                yield (
                    f"{name} was {old} and is now {new}: update all validators before a block exceeds "
                    "the old limit, because those with that limit refuse it"
                )
            elif new < old:
                yield (
                    f"{name} was {old} and is now {new}, so new nodes refuse the older blocks that "
                    f"exceed it: set it back to {old}, and refuse larger transactions in execute, from an "
                    "upgrade on"
                )

    def _unpack(self, before: bytes) -> tuple[int, ...]:
        return _STORED.unpack(before + self.rules[len(before) :])
