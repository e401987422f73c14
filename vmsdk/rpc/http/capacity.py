"""How much HTTP a plugin takes on at once, so that memory and descriptors are left for the chain."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

MAX_REQUESTS = 1_000
"""Requests that run at once, WebSockets and streams aside. Each holds its body."""

# For the engine, the database, files: far more than they need.
_RESERVED_DESCRIPTORS = 200
# A streamed request has a connection to the node, and while it becomes a WebSocket two.
_DESCRIPTORS_EACH = 2
_MAX_STREAMS = 20_000


class Full(Exception):
    """There is no room for another request. *what* says of what there are too many."""

    def __init__(self, what: str, limit: int) -> None:
        self.what = what
        self.limit = limit
        super().__init__(f"too many {what}: this VM takes {limit} at once, try again later")


class Slots:
    """So many of one kind at once."""

    def __init__(self, what: str, limit: int) -> None:
        self.what = what
        self.limit = limit
        self.taken = 0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a slot. Raises `Full`."""
        if self.taken >= self.limit:
            raise Full(self.what, self.limit)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class Capacity:
    """What there is room for in this process."""

    def __init__(self) -> None:
        self.requests = Slots("requests", MAX_REQUESTS)
        self.streams = Slots("WebSockets and streams", max_streams(descriptor_limit()))


def max_streams(descriptors: int) -> int:
    """How many streams a process may have that may have so many descriptors."""
    return max(1, min((descriptors - _RESERVED_DESCRIPTORS) // _DESCRIPTORS_EACH, _MAX_STREAMS))


def descriptor_limit() -> int:
    """How many descriptors this process may have, after asking for all it can get.

    A node's own limit is often raised, and not inherited: plugins start with the customary 1,024.
    """
    if sys.platform == "win32":
        return 2 * _MAX_STREAMS
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError):
            pass  # Not allowed here: what there is must do.
    return 2 * _MAX_STREAMS if soft == resource.RLIM_INFINITY else soft
