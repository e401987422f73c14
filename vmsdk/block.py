"""Blocks as an author writes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from vmsdk.ids import ID
from vmsdk.timestamp import TimestampLike


class Block(ABC):
    """One block of a chain. Subclasses are often dataclasses; each has these attributes:

    `id`
        32 bytes, chosen by the VM and never computed by the node; customary is `ID.of(raw)`.
    `parent_id`
        32 bytes, the ID of the block that this one extends.
    `height`
        0 for genesis, then one more than the parent's; at most 2**64 - 1.
    `timestamp`
        A `Timestamp`, an aware `datetime`, or Unix seconds. A child's should not be below its parent's.
    `raw`
        The block as peers and disks carry it: `parse_block(block.raw)` gives an equal block.

    The node verifies a block after its parent, and decides each verified block exactly once: it is
    accepted, or rejected because a sibling was accepted. Between the two vmsdk keeps the very object
    that was verified, so what `verify` computed can be stored in the object and used in `accept`.
    """

    if TYPE_CHECKING:
        # Declared for type checkers only: at run time a property here would stop subclasses from
        # simply assigning these attributes, as dataclasses do.
        @property
        def id(self) -> ID: ...
        @property
        def parent_id(self) -> ID: ...
        @property
        def height(self) -> int: ...
        @property
        def timestamp(self) -> TimestampLike: ...
        @property
        def raw(self) -> bytes: ...

    @abstractmethod
    def verify(self) -> None:
        """Check the block against its parent, which is verified or accepted.

        Raise `InvalidBlock` with the broken rule. The node may try again later, so what can become
        valid (a time in the near future) need not be stored as invalid. Must not change the
        accepted state: the block may still be rejected.
        """

    @abstractmethod
    def accept(self) -> None:
        """Make the block's effects permanent, in one database batch, and the block the last accepted.

        An exception here stops the chain for good.
        """

    def reject(self) -> None:
        """Forget the block's effects; its transactions may go back to the mempool.

        Nothing by default. An exception here stops the chain for good.
        """


class VerifyWithContext(ABC):
    """A power of a `Block`: verification that depends on the height of the P-chain.

    The P-chain's state at that height may not be available locally while the chain bootstraps.
    """

    @property
    @abstractmethod
    def should_verify_with_context(self) -> bool:
        """Whether this block wants `verify_with_context` in place of `verify`."""

    @abstractmethod
    def verify_with_context(self, p_chain_height: int) -> None:
        """Like `Block.verify`, at this P-chain height. May be called again with other heights."""
