"""State sync: joining a chain from a summary of its state instead of from all its blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import IntEnum
from typing import TYPE_CHECKING

from vmsdk.ids import ID


class StateSyncMode(IntEnum):
    """What a VM does with an accepted summary. Numbers as in the protocol's `Mode` enumeration."""

    SKIPPED = 1
    """Nothing: the node goes on to bootstrapping."""

    STATIC = 2
    """The node waits until the VM tells the end by `Context.state_sync_finished`."""

    DYNAMIC = 3
    """The VM syncs in the background while the node bootstraps and takes part in consensus."""


class StateSummary(ABC):
    """A summary of the chain's state at one height, as peers exchange it.

    `id` is 32 bytes and identifies the summary (customary: SHA-256 of `raw`); `height` is that of
    the block whose state it describes; `raw` is what peers send.
    """

    if TYPE_CHECKING:
        # For type checkers only, for the reason given in vmsdk/block.py.
        @property
        def id(self) -> ID: ...
        @property
        def height(self) -> int: ...
        @property
        def raw(self) -> bytes: ...

    @abstractmethod
    def accept(self) -> StateSyncMode:
        """Start syncing to this summary and say how. An exception stops the chain for good."""


class StateSyncableVM(ABC):
    """A power of a `ChainVM`: it can give and take state summaries.

    Peers' requests call the getters also when `state_sync_enabled` is false.
    """

    @abstractmethod
    def state_sync_enabled(self) -> bool:
        """Whether this node should state-sync the chain now."""

    @abstractmethod
    def get_ongoing_sync_state_summary(self) -> StateSummary:
        """The summary of an unfinished sync from before a restart.

        Raise `NotFound` when there is none; any other exception stops the chain for good.
        """

    @abstractmethod
    def get_last_state_summary(self) -> StateSummary:
        """The newest summary that this node can serve. Raise `NotFound` when there is none."""

    @abstractmethod
    def parse_state_summary(self, data: bytes) -> StateSummary:
        """The summary in *data*, which comes from a peer. Raise `InvalidBlock` when it is none."""

    @abstractmethod
    def get_state_summary(self, height: int) -> StateSummary:
        """The summary at *height*. Raise `NotFound` when this node has none there."""
