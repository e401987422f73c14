"""A cache bounded by the size of what it holds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class SizedLRU(Generic[KeyT, ValueT]):
    """Keeps the most recently used entries whose sizes, by *size_of*, sum up to at most *capacity*."""

    def __init__(self, capacity: int, size_of: Callable[[KeyT, ValueT], int]) -> None:
        self._capacity = capacity
        self._size_of = size_of
        self._entries: OrderedDict[KeyT, ValueT] = OrderedDict()
        self._size = 0

    def get(self, key: KeyT) -> ValueT | None:
        """The value, which is now the most recently used; None if there is none."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: KeyT, value: ValueT) -> None:
        """Add or replace. An entry larger than the whole cache empties it, as in the node."""
        self.evict(key)
        size = self._size_of(key, value)
        if size > self._capacity:
            self._entries.clear()
            self._size = 0
            return
        while self._size + size > self._capacity:
            self.evict(next(iter(self._entries)))
        self._entries[key] = value
        self._size += size

    def evict(self, key: KeyT) -> None:
        """Remove the entry, if there is one."""
        if key in self._entries:
            self._size -= self._size_of(key, self._entries.pop(key))

    def __contains__(self, key: KeyT) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)
