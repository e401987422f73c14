"""A database in memory for unit tests of a VM. Behaves like the node's."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Iterable

from vmsdk.database import Batch, Database, DatabaseIterator, as_bytes
from vmsdk.errors import Closed


class MemoryDatabase(Database):
    """A `Database` that keeps its pairs in a dict."""

    def __init__(self, content: dict[bytes, bytes] | None = None) -> None:
        self._content = dict(content or {})
        self._keys = sorted(self._content)
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
            pairs = []
            for key in self._keys[bisect_left(self._keys, max(prefix, start)) :]:
                if not key.startswith(prefix):
                    break
                pairs.append((key, self._content[key]))
        return _MemoryIterator(pairs)

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
            for key, value in operations.items():
                if value is not None:
                    if key not in self._content:
                        insort(self._keys, key)
                    self._content[key] = value
                elif key in self._content:
                    del self._content[key]
                    del self._keys[bisect_left(self._keys, key)]


class _MemoryBatch(Batch):
    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__()
        self._database = database

    def write(self) -> None:
        self._database._apply(self._operations)


class _MemoryIterator(DatabaseIterator):
    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self._pairs = iter(pairs)

    def __next__(self) -> tuple[bytes, bytes]:
        return next(self._pairs)

    def release(self) -> None:
        self._pairs = iter(())
