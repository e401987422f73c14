"""The genesis: when the chain begins, and who owns its asset."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from vmsdk.chain import I64, U64, Max
from vmsdk.chain.encoding import Encoding, encoding_of
from vmsdk.codec import MAX_ELEMENTS
from vmsdk.ids import ID
from xsvm.blocks import Block
from xsvm.transactions import VERSION, Address, decode


@dataclass(frozen=True)
class Allocation:
    """What an account owns when the chain begins."""

    address: Address
    balance: U64


@dataclass(frozen=True)
class Genesis:
    """The content of a chain's genesis."""

    timestamp: I64
    """Unix seconds."""
    allocations: Annotated[tuple[Allocation, ...], Max(MAX_ELEMENTS)]
    """Of two with the same address, the second counts."""

    @classmethod
    def from_bytes(cls, raw: bytes) -> Genesis:
        """Decode a genesis. Raises `Invalid`."""
        return decode(GENESIS, raw)

    @cached_property
    def raw(self) -> bytes:
        """The encoding."""
        return VERSION + GENESIS.encode(self)

    @property
    def block(self) -> Block:
        """The block at height 0."""
        return Block(ID.of(self.raw), self.timestamp, 0, ())


GENESIS: Encoding[Genesis] = encoding_of(Genesis)
