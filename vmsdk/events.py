"""What a VM tells the node without being asked."""

from __future__ import annotations

from enum import IntEnum


class Event(IntEnum):
    """An event for the node's engine. Numbers as in the protocol's `Message` enumeration."""

    BUILD_BLOCK = 1
    """There is work for a block: the node will call `build_block`, maybe later."""

    STATE_SYNC_FINISHED = 2
    """State sync is over, well or not: the node will ask for the last accepted block."""
