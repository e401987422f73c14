"""The node's cache of blocks, which stands between its engine and the VM."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.block import Block
from vmsdk.host.errors import HostError
from vmsdk.ids import ID

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")

# Source: vms/rpcchainvm/vm_client.go.
BLOCK_CACHE_BYTES = 64 * 1024 * 1024
MISSING_CACHE_IDS = 2048
# The size of an entry besides its bytes. Source: vms/components/chain/state.go.
_ENTRY_OVERHEAD_BYTES = ID.LENGTH + 2 * 8


class SizedLRU(Generic[KeyT, ValueT]):
    """Keeps the most recently used entries, whose sizes add up to at most *capacity*."""

    def __init__(self, capacity: int, size_of: Callable[[KeyT, ValueT], int]) -> None:
        self._capacity = capacity
        self._size_of = size_of
        self._entries: OrderedDict[KeyT, ValueT] = OrderedDict()
        self._size = 0

    def get(self, key: KeyT) -> ValueT | None:
        """Return the value, now the most recently used one, or None."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: KeyT, value: ValueT) -> None:
        """Add or replace an entry. One larger than the whole cache empties it, as in the node."""
        self.evict(key)
        size = self._size_of(key, value)
        if size > self._capacity:
            self._entries.clear()
            self._size = 0
            return
        while self._size + size > self._capacity:
            self.evict(next(iter(self._entries)))
        self._entries[key] = value
        self._size += size

    def evict(self, key: KeyT) -> None:
        """Remove the entry, if there is one."""
        if key in self._entries:
            self._size -= self._size_of(key, self._entries.pop(key))

    def __contains__(self, key: KeyT) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)


class BlockCache:
    """The blocks that the node knows, and the IDs that it knows to be missing.

    If *by_status* (protocol 35), the VM reports whether a block is decided; otherwise its height
    tells. Methods that add blocks raise `HostError` for an invalid status.
    """

    def __init__(self, last_accepted: Block, *, by_status: bool, capacity: int = BLOCK_CACHE_BYTES) -> None:
        self._by_status = by_status
        self.last_accepted = last_accepted
        self.verified: dict[ID, Block] = {}
        """Verified, undecided blocks in the order of their verification: parents come first."""
        self._decided: SizedLRU[ID, Block] = SizedLRU(capacity, _block_size)
        self._unverified: SizedLRU[ID, Block] = SizedLRU(capacity, _block_size)
        self._missing: SizedLRU[ID, None] = SizedLRU(MISSING_CACHE_IDS, lambda _key, _value: 1)
        self._ids: SizedLRU[bytes, ID] = SizedLRU(capacity, lambda data, _id: len(data) + ID.LENGTH)
        self._decided.put(last_accepted.id, last_accepted)

    def find(self, block_id: ID) -> Block | None:
        """Return the block if it is cached."""
        return self.verified.get(block_id) or self._decided.get(block_id) or self._unverified.get(block_id)

    def find_parsed(self, data: bytes) -> Block | None:
        """Return the block parsed from these bytes if it is cached."""
        block_id = self._ids.get(data)
        return None if block_id is None else self.find(block_id)

    def is_missing(self, block_id: ID) -> bool:
        """Whether the VM had no such block when it was asked, and none was added since."""
        return block_id in self._missing

    def add_missing(self, block_id: ID) -> None:
        """Remember that the VM has no such block."""
        self._missing.put(block_id, None)

    def add_parsed(self, data: bytes, block: Block) -> Block:
        """Like `add_built`, for a block parsed from *data*."""
        self._ids.put(data, block.id)
        return self.add_built(block)

    def add_built(self, block: Block) -> Block:
        """Add a block that the VM built; returns the cached block with its ID, if any."""
        known = self.find(block.id)
        if known is not None:
            return known
        self._missing.evict(block.id)
        return self.add_found(block)

    def add_found(self, block: Block) -> Block:
        """Add a block that the VM found."""
        (self._decided if self._is_decided(block) else self._unverified).put(block.id, block)
        return block

    def set_verified(self, block: Block) -> None:
        """Remember that the VM verified *block*."""
        self._unverified.evict(block.id)
        self.verified.setdefault(block.id, block)

    def set_accepted(self, block: Block) -> None:
        """Remember that *block* is accepted. Call it before the VM is notified."""
        self.set_decided(block)
        self.last_accepted = block

    def set_decided(self, block: Block) -> None:
        """Remember that *block* is no longer processing. Call it before the VM is notified."""
        self.verified.pop(block.id, None)
        self._decided.put(block.id, block)

    def set_last_accepted(self, block: Block) -> None:
        """Set the last accepted block to the one that the VM reports after a change of state.

        Raises `HostError` while verified blocks are undecided.
        """
        if self.verified:
            raise HostError(f"cannot set last accepted block with blocks processing: {len(self.verified)}")
        self._missing.evict(block.id)
        self._unverified.evict(block.id)
        self._decided.put(block.id, block)
        self.last_accepted = block

    def _is_decided(self, block: Block) -> bool:
        if not self._by_status:
            return block.height <= self.last_accepted.height
        if block.status not in (pb.STATUS_PROCESSING, pb.STATUS_REJECTED, pb.STATUS_ACCEPTED):
            raise HostError(f"found unexpected status for blk {block.id}: {block.status}")
        return block.status != pb.STATUS_PROCESSING


def _block_size(_block_id: ID, block: Block) -> int:
    return len(block.raw) + _ENTRY_OVERHEAD_BYTES
