"""A block as a VM tells a node about it."""

from __future__ import annotations

from dataclasses import dataclass

from vmsdk.ids import ID
from vmsdk.timestamp import Timestamp


@dataclass(frozen=True)
class Block:
    """What the node knows of one block: all its fields come from the VM."""

    id: ID
    parent_id: ID
    height: int
    timestamp: Timestamp
    raw: bytes
    verify_with_context: bool = False
    """Whether the VM wants the P-chain's height at verification."""
    status: int | None = None
    """Protocol 35 only: 1 processing, 2 rejected, 3 accepted."""

    def __repr__(self) -> str:
        return f"<Block {self.height} {self.id}>"
