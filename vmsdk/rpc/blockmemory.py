"""The blocks that vmsdk remembers, so that an author need not and no decision costs a read."""

from __future__ import annotations

from collections import OrderedDict

from vmsdk.block import Block
from vmsdk.ids import ID
from vmsdk.rpc import returned
from vmsdk.vm import ChainVM

# A block is parsed, then verified from the same bytes, usually at once. Bigger or older ones are
# parsed again.
MAX_PARSED_BYTES = 16 * 1024 * 1024
MAX_PARSED_BLOCKS = 1_024


class BlockMemory:
    """Verified and undecided blocks, the last accepted one, and the blocks parsed most recently."""

    def __init__(self, vm: ChainVM) -> None:
        self._vm = vm
        self._verified: dict[bytes, Block] = {}
        self._last_accepted: tuple[bytes, Block] | None = None
        self._parsed: OrderedDict[bytes, Block] = OrderedDict()
        self._parsed_bytes = 0

    # Looking up ----------------------------------------------------------------------------------

    def get(self, block_id: ID) -> Block:
        """The block with this ID, from memory if it is there. Raises `NotFound`."""
        block = self._verified.get(block_id)
        if block is not None:
            return block
        last_accepted = self._last_accepted
        if last_accepted is not None and last_accepted[0] == block_id:
            return last_accepted[1]
        return returned.block("get_block", self._vm.get_block(block_id), "NotFound")

    def verified(self, block_id: bytes) -> Block | None:
        """The verified and undecided block with this ID."""
        return self._verified.get(block_id)

    def parse(self, data: bytes) -> Block:
        """The block in *data*; the same object as the last time, if that is not long ago."""
        block = self._parsed.get(data)
        if block is not None:
            self._parsed.move_to_end(data)
            return block
        block = returned.block("parse_block", self._vm.parse_block(data), "InvalidBlock")
        self.remember_parsed(data, block)
        return block

    @property
    def last_accepted_height(self) -> int:
        """The height of the last accepted block; 0 before any is known."""
        return 0 if self._last_accepted is None else self._last_accepted[1].height

    # Remembering -----------------------------------------------------------------------------------

    def remember_parsed(self, data: bytes, block: Block) -> None:
        """*data* was found to be *block*."""
        if len(data) > MAX_PARSED_BYTES:
            return
        if data not in self._parsed:
            self._parsed_bytes += len(data)
        self._parsed[data] = block
        while self._parsed_bytes > MAX_PARSED_BYTES or len(self._parsed) > MAX_PARSED_BLOCKS:
            old, _ = self._parsed.popitem(last=False)
            self._parsed_bytes -= len(old)

    def remember_verified(self, block_id: bytes, block: Block) -> None:
        """*block* is valid, and will be accepted or rejected."""
        self._verified[block_id] = block

    def accepted(self, block_id: bytes, block: Block) -> None:
        """*block* was accepted."""
        self.rejected(block_id, block)
        self._last_accepted = block_id, block

    def rejected(self, block_id: bytes, block: Block) -> None:
        """*block* was rejected."""
        self._verified.pop(block_id, None)
        data = block.raw
        # The block's effects are permanent by now: nothing that is odd about it may fail the call.
        if isinstance(data, bytes) and self._parsed.pop(data, None) is not None:
            self._parsed_bytes -= len(data)

    def load_last_accepted(self) -> Block:
        """The block that the VM calls last accepted; asked anew, since state sync moves it."""
        block_id = returned.block_id("last_accepted", self._vm.last_accepted())
        if self._last_accepted is None or self._last_accepted[0] != block_id:
            block = returned.block("get_block", self._vm.get_block(block_id), "NotFound")
            if block.id != block_id:
                raise returned.Unusable("get_block returned a block whose ID is", block.id, f"be {block_id}")
            self._last_accepted = block_id, block
        return self._last_accepted[1]
