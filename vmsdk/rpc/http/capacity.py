"""Limits on HTTP, which leave memory and file descriptors for the chain."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

MAX_REQUESTS = 1_000
"""Concurrent requests, not counting streams and WebSockets. Each is held in memory."""

# For the engine, the database and files: far more than they need.
_RESERVED_DESCRIPTORS = 200
# A streamed request has one connection to the node, and two while it becomes a WebSocket.
_DESCRIPTORS_EACH = 2
_MAX_STREAMS = 20_000


class Full(Exception):
    """There are too many of *what* for another request."""

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"too many {what}: this VM takes {limit} at once, try again later")


class Slots:
    """A limit on requests of one kind."""

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
    """The limits of this process."""

    def __init__(self) -> None:
        self.requests = Slots("requests", MAX_REQUESTS)
        self.streams = Slots("WebSockets and streams", max_streams(descriptor_limit()))


def max_streams(descriptors: int) -> int:
    """The limit of streams for a process that may open this many descriptors."""
    return max(1, min((descriptors - _RESERVED_DESCRIPTORS) // _DESCRIPTORS_EACH, _MAX_STREAMS))


def descriptor_limit() -> int:
    """The limit of descriptors for this process, raised as far as the system allows.

    Plugins do not inherit a node's raised limit: they start with the usual 1,024.
    """
    if sys.platform == "win32":
        return 2 * _MAX_STREAMS
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return 2 * _MAX_STREAMS if soft == resource.RLIM_INFINITY else soft
