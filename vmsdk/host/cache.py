"""The node's cache of blocks, which stands between its engine and the VM."""

from __future__ import annotations

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.block import Block
from vmsdk.host.lru import SizedLRU
from vmsdk.ids import ID

# Source: vms/rpcchainvm/vm_client.go.
BLOCK_CACHE_BYTES = 64 * 1024 * 1024
MISSING_CACHE_IDS = 2048
# Source: vms/components/chain/state.go: what an entry counts besides its bytes.
_ENTRY_OVERHEAD_BYTES = ID.LENGTH + 2 * 8


class BlocksProcessing(Exception):
    """The last accepted block moved while verified blocks are undecided."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(f"cannot set last accepted block with blocks processing: {count}")


class UnexpectedStatus(Exception):
    """Protocol 35: a block's status is none of processing, rejected and accepted."""

    def __init__(self, block: Block) -> None:
        self.block = block
        super().__init__(f"found unexpected status for blk {block.id}: {block.status}")


class BlockCache:
    """Which blocks the node knows, and which it knows to be missing.

    *by_status*: in protocol 35 the VM's word decides whether a block is decided, later its height does.
    """

    def __init__(self, last_accepted: Block, *, by_status: bool, capacity: int = BLOCK_CACHE_BYTES) -> None:
        self._by_status = by_status
        self.last_accepted = last_accepted
        self.verified: dict[ID, Block] = {}
        """Verified and undecided, in the order of their verification: parents come first."""
        self._decided: SizedLRU[ID, Block] = SizedLRU(capacity, _block_size)
        self._unverified: SizedLRU[ID, Block] = SizedLRU(capacity, _block_size)
        self._missing: SizedLRU[ID, None] = SizedLRU(MISSING_CACHE_IDS, lambda _key, _value: 1)
        self._ids: SizedLRU[bytes, ID] = SizedLRU(capacity, lambda data, _id: len(data) + ID.LENGTH)
        self._decided.put(last_accepted.id, last_accepted)

    def find(self, block_id: ID) -> Block | None:
        """The block, if it is cached."""
        return self.verified.get(block_id) or self._decided.get(block_id) or self._unverified.get(block_id)

    def find_parsed(self, data: bytes) -> Block | None:
        """The block that these bytes were parsed to, if it is cached."""
        block_id = self._ids.get(data)
        return None if block_id is None else self.find(block_id)

    def is_missing(self, block_id: ID) -> bool:
        """Whether the VM said that it has no such block, and nothing has shown one since."""
        return block_id in self._missing

    def add_missing(self, block_id: ID) -> None:
        """The VM has no such block."""
        self._missing.put(block_id, None)

    def add_parsed(self, data: bytes, block: Block) -> Block:
        """The VM parsed *data*; the cached block of that ID if there is one. Raises `UnexpectedStatus`."""
        self._ids.put(data, block.id)
        return self.add_built(block)

    def add_built(self, block: Block) -> Block:
        """The VM built *block*; the cached block of that ID if there is one. Raises `UnexpectedStatus`."""
        known = self.find(block.id)
        if known is not None:
            return known
        self._missing.evict(block.id)
        return self.add_found(block)

    def add_found(self, block: Block) -> Block:
        """The VM found *block*. Raises `UnexpectedStatus`."""
        (self._decided if self._is_decided(block) else self._unverified).put(block.id, block)
        return block

    def set_verified(self, block: Block) -> None:
        """The VM verified *block*."""
        self._unverified.evict(block.id)
        self.verified.setdefault(block.id, block)

    def set_accepted(self, block: Block) -> None:
        """*block* is accepted: to be called before the VM is told."""
        self.set_rejected(block)
        self.last_accepted = block

    def set_rejected(self, block: Block) -> None:
        """*block* is rejected: to be called before the VM is told."""
        self.verified.pop(block.id, None)
        self._decided.put(block.id, block)

    def set_last_accepted(self, block: Block) -> None:
        """The VM says, after a change of state, that this is the last accepted. Raises `BlocksProcessing`."""
        if self.verified:
            raise BlocksProcessing(len(self.verified))
        self._missing.evict(block.id)
        self._unverified.evict(block.id)
        self._decided.put(block.id, block)
        self.last_accepted = block

    def _is_decided(self, block: Block) -> bool:
        if not self._by_status:
            return block.height <= self.last_accepted.height
        if block.status not in (pb.STATUS_PROCESSING, pb.STATUS_REJECTED, pb.STATUS_ACCEPTED):
            raise UnexpectedStatus(block)
        return block.status != pb.STATUS_PROCESSING


def _block_size(_block_id: ID, block: Block) -> int:
    return len(block.raw) + _ENTRY_OVERHEAD_BYTES
