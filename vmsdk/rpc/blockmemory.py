"""The blocks that vmsdk keeps in memory, so that a decision needs no read."""

from __future__ import annotations

from collections import OrderedDict

from vmsdk.block import Block
from vmsdk.context import ChainView
from vmsdk.errors import InvalidBlock, InvalidInput, NotFound, VMError
from vmsdk.ids import ID
from vmsdk.rpc import conversion
from vmsdk.vm import ChainVM

# A block is usually verified right after it was parsed, from the same bytes. Larger or older ones
# are parsed again.
MAX_PARSED_BYTES = 16 * 1024 * 1024
MAX_PARSED_BLOCKS = 1_024


class BlockMemory(ChainView):
    """Verified and undecided blocks, the last accepted one, and those parsed most recently."""

    def __init__(self, vm: ChainVM) -> None:
        self._vm = vm
        self._verified: dict[bytes, Block] = {}
        self._last_accepted: tuple[bytes, Block] | None = None
        self.preferred_id = b""
        """The ID of the block that the node prefers; empty before it has sent one."""
        # Different bytes may encode the same block: they lead to its ID, and the ID to one object.
        self._parsed: OrderedDict[bytes, bytes] = OrderedDict()
        self._parsed_bytes = 0
        self._objects: dict[bytes, Block] = {}

    # Looking up ----------------------------------------------------------------------------------

    def get(self, block_id: ID) -> Block:
        """The block with this ID, from memory if it is there. Raises `NotFound`."""
        block = self.known(block_id)
        return self._load(block_id) if block is None else block

    def _load(self, block_id: ID) -> Block:
        block = conversion.block("get_block", conversion.found("get_block", self._vm.get_block, block_id))
        if conversion.own_id(block) != block_id:
            raise conversion.unusable("get_block returned a block whose ID is", block.id, f"be {block_id}")
        return block

    def resolve(self, data: bytes) -> tuple[bytes, Block]:
        """The ID and the block in *data*: the verified object, else one parsed before."""
        block_id = self._parsed.get(data)
        if block_id is not None:
            self._parsed.move_to_end(data)
            block = self._verified.get(block_id, self._objects.get(block_id))
            if block is not None:
                return block_id, block
        try:
            parsed = self._vm.parse_block(data)
        except InvalidInput as error:
            raise InvalidBlock(str(error)) from error
        return self.remember_parsed(data, conversion.block("parse_block", parsed, "InvalidBlock"))

    def parsed_id(self, data: bytes) -> bytes:
        """The ID of the block in *data* if it was parsed recently; otherwise empty."""
        return self._parsed.get(data, b"")

    def verified(self, block_id: bytes) -> Block | None:
        """The verified and undecided block with this ID, if there is one."""
        return self._verified.get(block_id)

    @property
    def preferred(self) -> Block:
        """The block that the node prefers, which is undecided, or else the last accepted one."""
        block = self._verified.get(self.preferred_id)
        return self.load_last_accepted() if block is None else block

    def known(self, block_id: bytes) -> Block | None:
        """The undecided or last accepted block with this ID, if it is in memory."""
        last_id, last = self._last_accepted or (b"", None)
        return self._verified.get(block_id, last if last_id == block_id else None)

    @property
    def processing(self) -> tuple[Block, ...]:
        """Verified and undecided blocks in the order of verification: parents first.

        A node may verify a block and never decide it. Once another is accepted at its height, it
        can no longer be accepted, and is left out here. It stays in memory, since a late
        BlockReject that doesn't find it would stop the chain.
        """
        last_height = -1 if self._last_accepted is None else self._last_accepted[1].height
        return tuple(block for block in self._verified.values() if block.height > last_height)

    @property
    def last_accepted_height(self) -> int:
        """The height of the last accepted block; 0 before any is known."""
        return 0 if self._last_accepted is None else self._last_accepted[1].height

    # Remembering ----------------------------------------------------------------------------------

    def remember_parsed(self, data: bytes, block: Block) -> tuple[bytes, Block]:
        """Remember that *data* is *block*, if not verified already. Returns like `resolve`."""
        block_id = conversion.own_id(block)
        is_verified = block_id in self._verified
        if len(data) <= MAX_PARSED_BYTES:
            if data not in self._parsed:
                self._parsed_bytes += len(data)
            self._parsed[data] = block_id
            if not is_verified:
                self._objects[block_id] = block
            while self._parsed_bytes > MAX_PARSED_BYTES or len(self._parsed) > MAX_PARSED_BLOCKS:
                old, old_id = self._parsed.popitem(last=False)
                self._parsed_bytes -= len(old)
                self._objects.pop(old_id, None)
        return block_id, self._verified[block_id] if is_verified else block

    def remember_verified(self, block_id: bytes, block: Block) -> None:
        """Record that *block* is valid, and will be accepted or rejected."""
        self._verified[block_id] = block
        self._objects.pop(block_id, None)

    def refused(self, block_id: bytes) -> None:
        """Drop an object whose verification failed, as it may be half changed."""
        self._objects.pop(block_id, None)

    def accepted(self, block_id: bytes, block: Block) -> None:
        """Record that *block* was accepted."""
        self.forget(block_id)
        self._last_accepted = block_id, block

    def forget(self, block_id: bytes) -> None:
        """Record that the block was decided."""
        self._verified.pop(block_id, None)
        self._objects.pop(block_id, None)

    def load_last_accepted(self) -> Block:
        """The VM's last accepted block. The VM is asked each time, since state sync changes it."""
        block_id = conversion.block_id("last_accepted", self._vm.last_accepted(), "")
        if self._last_accepted is None or self._last_accepted[0] != block_id:
            try:
                self._last_accepted = block_id, self._load(block_id)
            except NotFound as error:
                raise VMError(
                    f"get_block does not find {block_id}, which last_accepted returns ({error}): write "
                    "a block and its ID as the last accepted one in the same batch"
                ) from error
        return self._last_accepted[1]
