"""Blocks as an author writes them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from vmsdk.ids import ID
from vmsdk.interface import Interface
from vmsdk.timestamp import TimestampLike


class Block(Interface):
    """One block of a chain. Subclasses are often dataclasses; each has these attributes:

    `id`
        32 bytes, chosen by the VM and never computed by the node; usually `ID.of(raw)`.
    `parent_id`
        32 bytes, the ID of the block that this one extends.
    `height`
        0 for genesis, then one more than the parent's; at most 2**64 - 1.
    `timestamp`
        A `Timestamp`, an aware `datetime`, or Unix seconds. Should not be below the parent's.
    `raw`
        The block as peers and disks carry it: `parse_block(block.raw)` returns an equal block.

    The node verifies a block after its parent, and decides each verified block exactly once: it is
    accepted, or rejected because a sibling was accepted. In between, vmsdk keeps the object that
    was verified, so `verify` can store its results in the block for `accept` to use.
    """

    if TYPE_CHECKING:
        # For type checkers only: at run time, properties would stop subclasses from assigning these
        # attributes, as dataclasses do.
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

        Raise `InvalidBlock` if it breaks a rule. Must not change the accepted state: the block may
        still be rejected.
        """

    @abstractmethod
    def accept(self) -> None:
        """Make the block's effects permanent, in one database batch, and the block the last
        accepted.

        An exception stops the chain for good.
        """

    def reject(self) -> None:
        """Drop the block's effects; its transactions may go back to the mempool.

        Does nothing by default. An exception stops the chain for good.
        """


class VerifyWithContext(Interface):
    """Optional interface of a `Block`: verification that depends on the height of the P-chain.

    While the chain bootstraps, the P-chain's state at that height may not be available locally.
    """

    @property
    @abstractmethod
    def should_verify_with_context(self) -> bool:
        """Whether `verify_with_context` is called for this block instead of `verify`."""

    @abstractmethod
    def verify_with_context(self, p_chain_height: int) -> None:
        """Like `Block.verify`, at this P-chain height. May be called again with another height."""
