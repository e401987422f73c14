"""Whether the end of a state sync is still to be told to the node, and how often."""

from __future__ import annotations

from vmsdk.state import State
from vmsdk.statesync import StateSyncMode


class SyncEnd:
    """The end of a chain's state sync. Whoever shares it between threads holds a lock around each use.

    The node waits for the end of a static sync, and sets the next state when it has heard: until then the
    end is told again and again, since the node may drop what it is told. After a dynamic sync, or one that
    ends in normal operation, no act of the node shows that it has heard: that end is told once.
    """

    def __init__(self) -> None:
        self.is_due = False
        """Whether it is to be told."""
        self._state: State | None = None
        self._dynamic = False
        self._queued = False

    @property
    def is_told_once(self) -> bool:
        """Whether no act of the node will show that it has heard."""
        return self._dynamic or self._state is State.NORMAL_OP

    def begin(self, mode: StateSyncMode) -> None:
        """The VM has accepted a state summary."""
        self._dynamic = mode is StateSyncMode.DYNAMIC
        self._settle()

    def finish(self) -> None:
        """The author says that the sync has ended."""
        self.is_due = True
        self._queued = False

    def enter(self, state: State) -> None:
        """The node has begun another phase."""
        self._state = state
        if not self._dynamic:
            self.is_due = False

    def take(self) -> bool:
        """The node is about to be told; false if there is nothing to tell by now."""
        due = self.is_due
        # While a node accepts a summary it drops what it is told, with the SetState that ends this phase.
        if self.is_told_once and self._state is not State.STATE_SYNCING:
            self.is_due = False
        return due

    def give_back(self) -> None:
        """The node was not told after all."""
        if self.is_told_once:
            self.is_due = True

    def queue(self) -> None:
        """The node has it in a queue, out of which nothing gets lost."""
        self._queued = True
        self._settle()

    def _settle(self) -> None:
        if self._queued and self.is_told_once:
            self.is_due = False
