"""The phases of a chain's life, and the events that a VM reports to the node."""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """What the node is doing with the chain. Numbers as in the protocol's `State` enumeration.

    The order is STATE_SYNCING (optional), BOOTSTRAPPING, NORMAL_OP; the last may never come.
    """

    STATE_SYNCING = 1
    """The chain's state is fetched from peers instead of being computed."""

    BOOTSTRAPPING = 2
    """Old blocks are fetched, verified and accepted one after the other."""

    NORMAL_OP = 3
    """The chain takes part in consensus: it builds blocks and serves HTTP."""


class Event(IntEnum):
    """An event for the node's engine. Numbers as in the protocol's `Message` enumeration."""

    BUILD_BLOCK = 1
    """There is work for a block: the node calls `build_block`, maybe later."""

    STATE_SYNC_FINISHED = 2
    """State sync is over, successfully or not: the node asks for the last accepted block."""
