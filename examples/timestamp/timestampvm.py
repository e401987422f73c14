"""TimestampVM: a chain of timestamped 32-byte values, the hello world of blockchain VMs."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import vmsdk
from vmsdk.http import JSONRPC, JSONRPCError

DATA_LENGTH = 32
# Clocks differ: a block may be this far ahead of this node's.
MAX_FUTURE_S = 10
# The end of the year 9999, the last second that the protocol can carry.
MAX_TIMESTAMP = 253_402_300_799
MAX_PROPOSALS = 1024

INVALID_PARAMS = -32602
TRY_LATER = -32000

_BLOCK = struct.Struct(f">32sQq{DATA_LENGTH}s")
_LAST_ACCEPTED = b"last"


@dataclass(frozen=True)
class TimestampBlock(vmsdk.Block):
    """32 bytes of parent, the height (u64), Unix seconds (i64), 32 bytes of data; big-endian."""

    vm: TimestampVM = field(repr=False, compare=False)
    parent_id: vmsdk.ID
    height: int
    timestamp: int
    data: bytes

    @cached_property
    def raw(self) -> bytes:
        return _BLOCK.pack(self.parent_id, self.height, self.timestamp, self.data)

    @cached_property
    def id(self) -> vmsdk.ID:
        return vmsdk.ID.of(self.raw)

    def verify(self) -> None:
        parent = self.vm.ctx.get_block(self.parent_id)
        if self.height != parent.height + 1:
            raise vmsdk.InvalidBlock(f"height {self.height} does not follow the parent's {parent.height}")
        latest = vmsdk.Timestamp.now().seconds + MAX_FUTURE_S
        if not parent.timestamp <= self.timestamp <= latest:
            raise vmsdk.InvalidBlock(f"time {self.timestamp} is not within {parent.timestamp} and {latest}")

    def accept(self) -> None:
        self.vm.store(self)
        self.vm.mempool.pop(self.data, None)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": str(self.id),
            "parentID": str(self.parent_id),
            "height": self.height,
            "timestamp": self.timestamp,
            "data": "0x" + self.data.hex(),
        }


class TimestampVM(vmsdk.ChainVM):
    """Builds one block for each piece of data that is proposed."""

    version = "1.0.0"

    def initialize(self, ctx: vmsdk.Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        # Proposals that no accepted block contains, oldest first. A dict is ordered, a set is not.
        self.mempool: dict[bytes, None] = {}
        last = ctx.db.get(_LAST_ACCEPTED)
        if last is None:
            data = genesis[:DATA_LENGTH].ljust(DATA_LENGTH, b"\0")
            self.store(TimestampBlock(self, vmsdk.ID.EMPTY, height=0, timestamp=0, data=data))
        else:
            self.last = self.get_block(vmsdk.ID(last))

    def store(self, block: TimestampBlock) -> None:
        with self.ctx.db.batch() as batch:
            batch[block.id] = block.raw
            batch[_height_key(block.height)] = block.id
            batch[_LAST_ACCEPTED] = block.id
        self.last = block

    # Blocks ---------------------------------------------------------------------------------------

    def last_accepted(self) -> vmsdk.ID:
        return self.last.id

    def get_block(self, block_id: vmsdk.ID) -> TimestampBlock:
        return self.parse_block(self.ctx.db[block_id])

    def get_block_id_at_height(self, height: int) -> vmsdk.ID:
        return vmsdk.ID(self.ctx.db[_height_key(height)])

    def parse_block(self, data: bytes) -> TimestampBlock:
        if len(data) != _BLOCK.size:
            raise vmsdk.InvalidBlock(f"a block has {_BLOCK.size} bytes, not {len(data)}")
        parent_id, height, timestamp, content = _BLOCK.unpack(data)
        if not 0 <= timestamp <= MAX_TIMESTAMP:
            raise vmsdk.InvalidBlock(f"time {timestamp} is not within 0 and {MAX_TIMESTAMP}")
        return TimestampBlock(self, vmsdk.ID(parent_id), height, timestamp, content)

    def build_block(self) -> TimestampBlock:
        data = self.next_proposal()
        if data is None:
            raise vmsdk.NothingToBuild
        parent = self.ctx.preferred
        now = max(vmsdk.Timestamp.now().seconds, parent.timestamp)
        return TimestampBlock(self, parent.id, parent.height + 1, now, data)

    def has_pending_work(self) -> bool:
        return self.next_proposal() is not None

    def next_proposal(self) -> bytes | None:
        """The oldest proposal that no undecided block contains."""
        held = {block.data for block in self.ctx.processing}
        return next((data for data in self.mempool if data not in held), None)

    # HTTP -----------------------------------------------------------------------------------------

    def create_handlers(self) -> dict[str, Any]:
        return {"": JSONRPC({"timestampvm": Service(self)})}


class Service:
    """The JSON-RPC methods, `timestampvm.proposeBlock` and so on."""

    def __init__(self, vm: TimestampVM) -> None:
        self._vm = vm

    def propose_block(self, data: str) -> dict[str, Any]:
        """Propose up to 32 bytes, in hexadecimal, for a future block. Duplicates wait only once."""
        try:
            content = bytes.fromhex(data.removeprefix("0x"))
        except ValueError as error:
            raise JSONRPCError(INVALID_PARAMS, f"data is not hexadecimal: {error}") from None
        if len(content) > DATA_LENGTH:
            raise JSONRPCError(INVALID_PARAMS, f"data has {len(content)} bytes, at most {DATA_LENGTH} fit")
        content = content.ljust(DATA_LENGTH, b"\0")
        with self._vm.ctx.lock:
            if content not in self._vm.mempool and len(self._vm.mempool) >= MAX_PROPOSALS:
                raise JSONRPCError(TRY_LATER, f"{MAX_PROPOSALS} proposals are waiting: try again later")
            self._vm.mempool[content] = None
        self._vm.ctx.notify()
        return {"success": True}

    def get_block(self, id: vmsdk.ID | None = None) -> dict[str, Any]:
        """The block with this ID, or the last accepted block."""
        # No lock: an accepted block never changes, and the batch that stores one is atomic.
        return (self._vm.get_block(id) if id else self._vm.last).to_json()

    def last_accepted(self) -> dict[str, Any]:
        """The ID and the height of the last accepted block."""
        block = self._vm.last
        return {"id": str(block.id), "height": block.height}


def _height_key(height: int) -> bytes:
    return b"height/" + height.to_bytes(8, "big")


if __name__ == "__main__":
    vmsdk.serve(TimestampVM())
