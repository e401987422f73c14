"""A block whose attributes are fields."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import assert_type

import vmsdk


@dataclass(frozen=True)
class Transfer(vmsdk.Block):
    id: vmsdk.ID
    parent_id: vmsdk.ID
    height: int
    timestamp: vmsdk.Timestamp
    raw: bytes

    def verify(self) -> None:
        if self.height == 0:
            raise vmsdk.InvalidBlock("height 0 is the genesis block's")

    def accept(self) -> None: ...


block: vmsdk.Block = Transfer(vmsdk.ID.EMPTY, vmsdk.ID.EMPTY, 1, vmsdk.Timestamp.now(), b"")
assert_type(block.id, vmsdk.ID)
assert_type(block.height, int)
assert_type(block.raw, bytes)
