"""The phases of a chain's life on a node."""

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
