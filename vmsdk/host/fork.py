"""Since which block the chain's blocks are wrapped, and so verified with a P-chain height."""

from __future__ import annotations

from vmsdk.host.block import Block
from vmsdk.host.sqlite import KeySpace
from vmsdk.ids import ID
from vmsdk.timestamp import Timestamp

_FORK_HEIGHT = b"fork"


class ProposerFork:
    """Stands for the proposervm, which wraps each child of a wrapped block, and of a block of *since* or later.

    The height of the first wrapped block that was accepted is kept in *space*.
    """

    def __init__(self, space: KeySpace, since: Timestamp) -> None:
        self._space = space
        self._since = since
        self._wrapped: set[ID] = set()

    def start(self, last_accepted: Block) -> None:
        """The chain is at *last_accepted*, after a restart or a state sync."""
        self._wrapped.clear()
        height = self._fork_height()
        if height is not None and last_accepted.height >= height:
            self._wrapped.add(last_accepted.id)

    def is_wrapped(self, block_id: ID) -> bool:
        """Whether this processing or last accepted block is wrapped: its children know a P-chain height."""
        return block_id in self._wrapped

    def add(self, block: Block, parent: Block) -> None:
        """*block* enters consensus."""
        if parent.id in self._wrapped or parent.timestamp >= self._since:
            self._wrapped.add(block.id)

    def accept(self, block: Block) -> None:
        """*block* is accepted: its parent is no longer of interest."""
        self._wrapped.discard(block.parent_id)
        if block.id in self._wrapped and self._fork_height() is None:
            self._space.put(_FORK_HEIGHT, block.height.to_bytes(8, "big"))

    def reject(self, block: Block) -> None:
        """*block* is rejected."""
        self._wrapped.discard(block.id)

    def _fork_height(self) -> int | None:
        value = self._space.get(_FORK_HEIGHT)
        return None if value is None else int.from_bytes(value, "big")
