"""The state of a chain: sorted keys and values, in layers of changes."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Any, overload

from vmsdk.chain.block import Event, as_topic
from vmsdk.database import as_bytes
from vmsdk.errors import NotFound, VMError

MAX_HEIGHT = 2**64 - 1

MAX_INT_BYTES = 32
"""`State.put_int` takes integers below 2**256."""


class State(ABC):
    """A sorted mapping of bytes to bytes.

    Store integers with `put_int`, other types in a `Table`. Floats are not supported, because they
    differ between machines.
    """

    claims: dict[bytes, tuple[Any, ...]] | None = None
    """The tables and counters that have used this state, by prefix; None if they are not recorded.
    They are recorded anew for each call of the rules, so that a clash depends only on that call.
    """

    @abstractmethod
    def lookup(self, key: bytes) -> bytes | None:
        """The value of *key*, or None."""

    @abstractmethod
    def lookup_many(self, keys: list[bytes]) -> list[bytes | None]:
        """The values of *keys*, in the same order."""

    @abstractmethod
    def pairs(self, prefix: bytes, first: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The current pairs whose key has *prefix* and is not below *first*, in order."""

    def write(self, key: bytes, value: bytes | None) -> None:
        """Set *key*, or delete it if *value* is None. Raises `VMError` in a read-only state."""
        raise VMError(f"this state is read-only: key 0x{key.hex()} can't be written")

    def emit(self, topic: bytes | str, data: bytes = b"") -> None:
        """Add an event to the transaction's receipt. *topic* has 1 to 255 bytes in UTF-8.

        Rules can't read events; clients find them by topic and block height.
        """
        raise VMError("this state is read-only: no event can be emitted")

    def nested(self) -> AbstractContextManager[State]:
        """A state whose changes and events are dropped if the `with` block raises.

        ```python
        with state.nested() as attempt:
            attempt[b"a"] = b"1"
        ```
        """
        raise VMError("this state is read-only: nothing can be changed in a nested one")

    # Reading --------------------------------------------------------------------------------------

    @overload
    def get(self, key: bytes) -> bytes | None: ...
    @overload
    def get(self, key: bytes, default: bytes) -> bytes: ...
    def get(self, key: bytes, default: bytes | None = None) -> bytes | None:
        """The value of *key*, or *default* if the key is missing."""
        value = self.lookup(as_bytes(key))
        return default if value is None else value

    def __getitem__(self, key: bytes) -> bytes:
        """The value of *key*. Raises `NotFound`, which is also a `KeyError`."""
        value = self.lookup(as_bytes(key))
        if value is None:
            raise NotFound(f"no key 0x{key.hex()} in the state")
        return value

    def __contains__(self, key: bytes) -> bool:
        return self.lookup(as_bytes(key)) is not None

    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        """The values of *keys*, read together, in the same order. None for a missing key."""
        return self.lookup_many([as_bytes(key) for key in keys])

    def get_int(self, key: bytes, default: int = 0) -> int:
        """The integer that `put_int` stored, or *default* if the key is missing."""
        value = self.lookup(as_bytes(key))
        return default if value is None else int.from_bytes(value, "big")

    __iter__ = None
    """Not iterable, so that Python doesn't try the keys 0, 1 and so on. Use `scan`."""

    def scan(
        self, prefix: bytes = b"", *, start: bytes = b"", limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """At most *limit* pairs whose key begins with *prefix*, in ascending order of keys.

        The first key is *prefix* + *start* or the next one. Changes made during the iteration have
        no effect on it. If clients can trigger the scan, always pass a *limit*, without which it
        reads all keys.
        """
        prefix = as_bytes(prefix)
        pairs = self.pairs(prefix, prefix + as_bytes(start))
        return pairs if limit is None else islice(pairs, as_limit(limit))

    # Writing --------------------------------------------------------------------------------------

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.write(as_bytes(key), as_bytes(value))

    def __delitem__(self, key: bytes) -> None:
        """Delete *key*. A missing key is not an error."""
        self.write(as_bytes(key), None)

    def put_int(self, key: bytes, value: int) -> None:
        """Store an integer from 0 to 2**256 - 1, big-endian, in as many bytes as it needs.

        Raises `TypeError` if it isn't an int, `ValueError` if it is out of range.
        """
        if not isinstance(value, int):
            raise TypeError(f"put_int stores integers, but {value!r} is of type {type(value).__name__}")
        if not 0 <= value < 1 << 8 * MAX_INT_BYTES:
            raise ValueError(f"put_int stores 0 to 2**256 - 1, but {value} is out of range")
        self.write(as_bytes(key), value.to_bytes((value.bit_length() + 7) // 8 or 1, "big"))


class Overlay(State):
    """A layer of changes above another state, which is not changed."""

    def __init__(self, parent: State, writes: dict[bytes, bytes | None] | None = None) -> None:
        self.parent = parent
        self.claims = {}
        self.writes: dict[bytes, bytes | None] = {} if writes is None else writes
        self.events: list[Event] = []
        self.written = 0
        """The bytes of all events, keys and values written, including those overwritten since."""
        self._sorted: list[bytes] | None = None

    def lookup(self, key: bytes) -> bytes | None:
        state: State = self
        while isinstance(state, Overlay):
            if key in state.writes:
                return state.writes[key]
            state = state.parent
        return state.lookup(key)

    def lookup_many(self, keys: list[bytes]) -> list[bytes | None]:
        missing = [key for key in keys if key not in self.writes]
        found = dict(zip(missing, self.parent.lookup_many(missing), strict=True)) if missing else {}
        return [self.writes[key] if key in self.writes else found[key] for key in keys]

    def pairs(self, prefix: bytes, first: bytes) -> Iterator[tuple[bytes, bytes]]:
        # A copy, so that the caller may write during the iteration.
        own = []
        if self.writes:
            if self._sorted is None:
                self._sorted = sorted(self.writes)
            for index in range(bisect_left(self._sorted, max(prefix, first)), len(self._sorted)):
                key = self._sorted[index]
                if not key.startswith(prefix):
                    break
                own.append((key, self.writes[key]))
        below = self.parent.pairs(prefix, first)
        return merge(below, own) if own else below

    def write(self, key: bytes, value: bytes | None) -> None:
        if self._sorted is not None and key not in self.writes:
            insort(self._sorted, key)
        self.writes[key] = value
        self.written += len(key) if value is None else len(key) + len(value)

    def emit(self, topic: bytes | str, data: bytes = b"") -> None:
        topic = as_topic(topic)
        if type(data) is not bytes:
            data = as_bytes(data)
        self.events.append(tuple.__new__(Event, (topic, data)))  # faster than Event(topic, data)
        self.written += len(topic) + len(data)

    @contextmanager
    def nested(self) -> Iterator[Overlay]:
        overlay = Overlay(self)
        overlay.claims = self.claims  # used by the same call of the rules
        try:
            yield overlay
            self.absorb(overlay)
        finally:
            overlay.end()

    def end(self) -> None:
        """Refuse further writes, which would have no effect."""
        self.writes = _ENDED

    def absorb(self, overlay: Overlay) -> None:
        """Add the changes and events of *overlay*."""
        if self._sorted is None:
            self.writes.update(overlay.writes)
        else:
            for key, value in overlay.writes.items():
                if key not in self.writes:
                    insort(self._sorted, key)
                self.writes[key] = value
        self.events += overlay.events
        self.written += overlay.written


class _Ended(dict[bytes, "bytes | None"]):
    """The `writes` of a state after `Overlay.end`."""

    def __setitem__(self, key: bytes, value: bytes | None) -> None:
        self.update()

    def update(self, *arguments: object) -> None:
        raise VMError(
            "the state was written to after it ended, so the change would be lost: a state can be written "
            "to until the method that got it returns, a nested one until the end of its `with` block"
        )


_ENDED = _Ended()


def as_limit(limit: int) -> int:
    """A limit for `islice`. Raises `ValueError` unless it is a whole number, 0 or more."""
    if not isinstance(limit, int) or limit < 0:
        raise ValueError(f"limit is {limit!r}: give a whole number, 0 or more")
    return min(limit, sys.maxsize)


def as_height(height: int, what: str = "start") -> int:
    """The nearest possible height, 0 to 2**64 - 1. Raises `TypeError` unless it is an int."""
    if not isinstance(height, int):
        raise TypeError(f"{what} is {height!r}: give the height of a block, a whole number")
    return min(max(height, 0), MAX_HEIGHT)


def merge(
    below: Iterator[tuple[bytes, bytes]], above: list[tuple[bytes, bytes | None]]
) -> Iterator[tuple[bytes, bytes]]:
    """The pairs of two layers in order. The values of *above* take precedence; None deletes."""
    try:
        changes = iter(above)
        change = next(changes, None)
        for key, value in below:
            while change is not None and change[0] < key:
                if change[1] is not None:
                    yield change[0], change[1]
                change = next(changes, None)
            if change is not None and change[0] == key:
                if change[1] is not None:
                    yield key, change[1]
                change = next(changes, None)
            else:
                yield key, value
        while change is not None:
            if change[1] is not None:
                yield change[0], change[1]
            change = next(changes, None)
    finally:
        # Release a database iterator at once, even if the caller stops early.
        close = getattr(below, "close", None)
        if close is not None:
            close()
