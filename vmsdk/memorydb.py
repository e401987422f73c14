"""A database in memory for unit tests of a VM. Behaves like the node's."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from weakref import WeakSet

from vmsdk.database import Batch, Database, DatabaseIterator, as_bytes
from vmsdk.errors import Closed

# With more than one change per this many keys, all are sorted instead of moving some.
MANY_CHANGES = 1_000


class MemoryDatabase(Database):
    """A `Database` that keeps its pairs in a dict."""

    def __init__(self, content: dict[bytes, bytes] | None = None) -> None:
        self._content = dict(content or {})
        self._keys = sorted(self._content)
        self._changed: set[bytes] = set()
        """Keys that may be missing in `_keys`, or there although they are deleted."""
        self._iterators: WeakSet[_MemoryIterator] = WeakSet()
        self._lock = threading.RLock()
        self._closed = False

    def _get(self, key: bytes) -> bytes | None:
        with self._lock:
            self._check_open()
            return self._content.get(as_bytes(key))

    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        with self._lock:
            self._check_open()
            return [self._content.get(as_bytes(key)) for key in keys]

    def __contains__(self, key: object) -> bool:
        return self._get(as_bytes(key)) is not None

    def put(self, key: bytes, value: bytes) -> None:
        self._apply({as_bytes(key): as_bytes(value)})

    def delete(self, key: bytes) -> None:
        self._apply({as_bytes(key): None})

    def batch(self) -> Batch:
        return _MemoryBatch(self)

    def iterate(self, *, prefix: bytes = b"", start: bytes = b"") -> DatabaseIterator:
        with self._lock:
            self._check_open()
            self._sort()
            iterator = _MemoryIterator(self._lock, self._pairs(max(prefix, start), prefix))
            self._iterators.add(iterator)
            return iterator

    def _pairs(self, start: bytes, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        for index in range(bisect_left(self._keys, start), len(self._keys)):
            key = self._keys[index]
            if not key.startswith(prefix):
                break
            yield key, self._content[key]

    def compact(self, start: bytes = b"", limit: bytes = b"") -> None:
        self._check_open()

    def health_check(self) -> None:
        self._check_open()

    def close(self) -> None:
        with self._lock:
            self._check_open()
            self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise Closed

    def _apply(self, operations: dict[bytes, bytes | None]) -> None:
        with self._lock:
            self._check_open()
            if self._iterators:
                for iterator in list(self._iterators):
                    iterator.read()
                self._iterators.clear()
            for key, value in operations.items():
                if (value is None) == (key in self._content):
                    self._changed.add(key)
                if value is not None:
                    self._content[key] = value
                else:
                    self._content.pop(key, None)

    def _sort(self) -> None:
        """Update `_keys`, which an iterator needs in order."""
        if len(self._changed) > len(self._keys) // MANY_CHANGES:
            kept = [key for key in self._keys if key not in self._changed]
            self._keys = kept + sorted(self._changed & self._content.keys())
            self._keys.sort()  # linear, since these are two sorted parts
        else:
            for key in self._changed:
                index = bisect_left(self._keys, key)
                if self._keys[index : index + 1] == [key]:
                    del self._keys[index]
                if key in self._content:
                    self._keys.insert(index, key)
        self._changed.clear()


class _MemoryBatch(Batch):
    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__()
        self._database = database

    def write(self) -> None:
        self._database._apply(self._operations)


class _MemoryIterator(DatabaseIterator):
    def __init__(self, lock: threading.RLock, pairs: Iterator[tuple[bytes, bytes]]) -> None:
        self._lock = lock
        self._pairs = pairs

    def __next__(self) -> tuple[bytes, bytes]:
        with self._lock:
            return next(self._pairs)

    def read(self) -> None:
        """Read the remaining pairs before they change."""
        self._pairs = iter(list(self._pairs))

    def release(self) -> None:
        with self._lock:
            self._pairs = iter(())
