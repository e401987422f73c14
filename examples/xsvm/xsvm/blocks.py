"""Blocks and their encoding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from vmsdk.chain import I64, U64, Max
from vmsdk.chain.encoding import Encoding, encoding_of
from vmsdk.codec import MAX_ELEMENTS
from vmsdk.ids import ID
from xsvm.transactions import VERSION, Transaction, decode


@dataclass(frozen=True)
class Block:
    """A block as peers and disks carry it."""

    parent_id: ID
    """The block that this one extends. The genesis block has the SHA-256 of the genesis here."""
    timestamp: I64
    """Unix seconds."""
    height: U64
    """0 for the genesis block, then one more than the parent's."""
    transactions: Annotated[tuple[Transaction, ...], Max(MAX_ELEMENTS)]
    """One or more, in the order of execution; none in the genesis block."""

    @classmethod
    def from_bytes(cls, raw: bytes) -> Block:
        """Decode a block. Raises `Invalid`."""
        block = decode(BLOCK, raw)
        vars(block)["raw"] = raw  # it has no other encoding
        return block

    @cached_property
    def raw(self) -> bytes:
        """The encoding."""
        return VERSION + BLOCK.encode(self)

    @cached_property
    def id(self) -> ID:
        """The SHA-256 of `raw`."""
        return ID.of(self.raw)


BLOCK: Encoding[Block] = encoding_of(Block)
