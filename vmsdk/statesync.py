"""State sync: joining a chain from a summary of its state instead of from all its blocks."""

from __future__ import annotations

from abc import abstractmethod
from enum import IntEnum
from typing import TYPE_CHECKING

from vmsdk.ids import ID
from vmsdk.interface import Interface


class StateSyncMode(IntEnum):
    """How a VM syncs to an accepted summary. Numbers as in the protocol's `Mode` enumeration."""

    SKIPPED = 1
    """Skip it: the node continues with bootstrapping."""

    STATIC = 2
    """The node waits until the VM calls `Context.state_sync_finished`."""

    DYNAMIC = 3
    """The VM syncs in the background while the node bootstraps and takes part in consensus."""


class StateSummary(Interface):
    """A summary of the chain's state at one height, as peers exchange it.

    `id` is 32 bytes and identifies the summary, usually `ID.of(raw)`; `height` is that of the block
    whose state it describes; `raw` is what peers send.
    """

    if TYPE_CHECKING:
        # For type checkers only: see `Block`.
        @property
        def id(self) -> ID: ...
        @property
        def height(self) -> int: ...
        @property
        def raw(self) -> bytes: ...

    @abstractmethod
    def accept(self) -> StateSyncMode:
        """Start syncing to this summary, and return how. An exception stops the chain for good."""


class StateSyncableVM(Interface):
    """Optional interface of a `ChainVM`: state sync.

    The getters are called for peers even if `state_sync_enabled` returns False.
    """

    @abstractmethod
    def state_sync_enabled(self) -> bool:
        """Whether this node should state-sync the chain now."""

    @abstractmethod
    def get_ongoing_sync_state_summary(self) -> StateSummary:
        """The summary of an unfinished sync from before a restart.

        Raise `NotFound` if there is none; any other exception stops the chain for good.
        """

    @abstractmethod
    def get_last_state_summary(self) -> StateSummary:
        """The newest summary that this node can serve. Raise `NotFound` if there is none."""

    @abstractmethod
    def parse_state_summary(self, data: bytes) -> StateSummary:
        """The summary in *data*, which comes from a peer. Raise `InvalidBlock` if it is not one."""

    @abstractmethod
    def get_state_summary(self, height: int) -> StateSummary:
        """The summary at *height*. Raise `NotFound` if this node has none."""
