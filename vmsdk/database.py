"""The chain's database as an author sees it: bytes to bytes, in byte order, with atomic batches."""

from __future__ import annotations

import reprlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, overload

from vmsdk.errors import NotFound

if TYPE_CHECKING:
    from typing_extensions import Self


class Database(ABC):
    """A mapping of bytes to bytes, private to the chain. Any key is legal, even an empty one.

    An empty value is a value: `b"" in db` is true after `db.put(b"", b"")`. Every read or write is
    a call to the node and takes a fraction of a millisecond: prefer `get_many`, one batch per
    block, and `iterate`.

    Every method raises `Closed` after `close`, `DatabaseFailed` after any operation has failed, and
    `NodeError` if the node can't be reached. All methods are thread-safe.
    """

    @abstractmethod
    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        """The values of *keys*, in order, with None for a missing key. The reads overlap."""

    @abstractmethod
    def put(self, key: bytes, value: bytes) -> None:
        """Insert or overwrite one key. For several, use `batch`, which is one call and atomic."""

    @abstractmethod
    def delete(self, key: bytes) -> None:
        """Remove one key. A missing key is not an error."""

    @abstractmethod
    def batch(self) -> Batch:
        """A new, empty batch of writes for this database."""

    @abstractmethod
    def iterate(self, *, prefix: bytes = b"", start: bytes = b"") -> DatabaseIterator:
        """The pairs whose key has *prefix* and is not below *start*, in ascending order, from a
        snapshot.

        *start* is a whole key, not relative to *prefix*. Use the result as a context manager:

            with ctx.db.iterate(prefix=b"account/") as accounts:
                for key, value in accounts: ...
        """

    @abstractmethod
    def compact(self, start: bytes = b"", limit: bytes = b"") -> None:
        """Have the node compact the keys from *start* to *limit*; empty means the first or last."""

    @abstractmethod
    def health_check(self) -> Any:
        """The node's health details of the database: any JSON value, usually None."""

    @abstractmethod
    def close(self) -> None:
        """Close the chain's view of the node's database. A second close raises `Closed`."""

    @abstractmethod
    def _get(self, key: bytes) -> bytes | None:
        """The value of *key*, or None."""

    @abstractmethod
    def __contains__(self, key: object) -> bool: ...

    @overload
    def get(self, key: bytes) -> bytes | None: ...
    @overload
    def get(self, key: bytes, default: bytes) -> bytes: ...
    def get(self, key: bytes, default: bytes | None = None) -> bytes | None:
        """The value of *key*, or *default* if the key is missing."""
        value = self._get(key)
        return default if value is None else value

    def __getitem__(self, key: bytes) -> bytes:
        """The value of *key*. Raises `NotFound`, which is also a `KeyError`."""
        value = self._get(key)
        if value is None:
            raise NotFound(f"no key {key!r:.200} in the database")
        return value

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.put(key, value)

    def __delitem__(self, key: bytes) -> None:
        """Like `delete`: a missing key is not an error, since finding out would cost a read."""
        self.delete(key)

    def __iter__(self) -> Iterator[bytes]:
        with self.iterate() as pairs:
            for key, _ in pairs:
                yield key


class Batch(ABC):
    """Writes that happen together or not at all. Only the last operation on a key counts.

    As a context manager it writes itself at the end of the block, unless the block raised:

        with ctx.db.batch() as batch:
            batch.put(b"height", height)
            batch.delete(b"pending")
    """

    def __init__(self) -> None:
        self._operations: dict[bytes, bytes | None] = {}
        self._size = 0

    def put(self, key: bytes, value: bytes) -> None:
        """Insert or overwrite *key* when the batch is written."""
        self._set(as_bytes(key), as_bytes(value))

    def delete(self, key: bytes) -> None:
        """Remove *key* when the batch is written. A missing key is not an error."""
        self._set(as_bytes(key), None)

    def _set(self, key: bytes, value: bytes | None) -> None:
        if key in self._operations:
            self._size -= len(key) + len(self._operations[key] or b"")
        self._size += len(key) + len(value or b"")
        self._operations[key] = value

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.put(key, value)

    def __delitem__(self, key: bytes) -> None:
        self.delete(key)

    def clear(self) -> None:
        """Drop every operation, so that the batch can be filled again."""
        self._operations.clear()
        self._size = 0

    @property
    def operations(self) -> dict[bytes, bytes | None]:
        """The last operation on each key: the value put, or None for a delete. A copy."""
        return dict(self._operations)

    @property
    def size(self) -> int:
        """The number of bytes of the keys and values that a write sends."""
        return self._size

    def __len__(self) -> int:
        return len(self._operations)

    @abstractmethod
    def write(self) -> None:
        """Apply all operations atomically. The batch keeps them until `clear`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.write()


class DatabaseIterator(ABC):
    """Key-value pairs in ascending order of keys.

    Released when it is exhausted, on an error, by `release`, at the end of its `with` block, or at
    the latest when it is garbage-collected.
    """

    @abstractmethod
    def __next__(self) -> tuple[bytes, bytes]: ...

    @abstractmethod
    def release(self) -> None:
        """Free the node's resources, and end the iteration. Can be called repeatedly."""

    def __iter__(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def as_bytes(value: object) -> bytes:
    """*value*, a key or value, from any bytes-like object. Raises `TypeError` for anything else."""
    if type(value) is bytes:
        return value
    try:
        return bytes(memoryview(value))  # type: ignore[arg-type]  # `bytes(7)` would be seven zero bytes
    except TypeError:
        kind = type(value).__name__
        raise TypeError(f"keys and values are bytes, and {reprlib.repr(value)} is of type {kind}") from None
