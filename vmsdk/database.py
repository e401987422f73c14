"""The chain's database as an author sees it: bytes to bytes, in byte order, with atomic batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

from vmsdk.errors import NotFound

if TYPE_CHECKING:
    from typing_extensions import Self


class Database(ABC):
    """A mapping of bytes to bytes, private to the chain. Any key is legal, the empty one too.

    An empty value is a value: `b"" in db` is true after `db.put(b"", b"")`. Every read or write is a
    call to the node, about 200 µs: prefer `get_many`, one batch per block, and `iterate`.

    Every method raises `Closed` after `close`, `DatabaseFailed` after any operation has failed, and
    `NodeError` when the node can't be reached. Safe for use from several threads.
    """

    @abstractmethod
    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        """The values of *keys*, in their order, None where a key is missing; the reads overlap."""

    @abstractmethod
    def put(self, key: bytes, value: bytes) -> None:
        """Insert or overwrite one key. For several, use `batch`, which is one call and atomic."""

    @abstractmethod
    def delete(self, key: bytes) -> None:
        """Remove one key; removing a missing key is no error."""

    @abstractmethod
    def batch(self) -> Batch:
        """A new, empty batch of writes for this database."""

    @abstractmethod
    def iterate(self, *, prefix: bytes = b"", start: bytes = b"") -> DatabaseIterator:
        """The pairs whose key has *prefix* and is not below *start*, ascending, from a snapshot.

        *start* is a whole key, not relative to *prefix*. Use it as a context manager, or exhaust it:

            with ctx.db.iterate(prefix=b"account/") as accounts:
                for key, value in accounts: ...
        """

    @abstractmethod
    def compact(self, start: bytes = b"", limit: bytes = b"") -> None:
        """Let the node compact the range from *start* to *limit*; empty means from or to the end."""

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
        """The value of *key*, or *default* when the key is missing."""
        value = self._get(key)
        return default if value is None else value

    def __getitem__(self, key: bytes) -> bytes:
        """The value of *key*. Raises `NotFound`, which is also a `KeyError`."""
        value = self._get(key)
        if value is None:
            raise NotFound(f"no key 0x{key.hex()} in the database")
        return value

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.put(key, value)

    def __delitem__(self, key: bytes) -> None:
        """Like `delete`: a missing key is no error, since finding out would cost a read."""
        self.delete(key)

    def __iter__(self) -> Iterator[bytes]:
        with self.iterate() as pairs:
            for key, _ in pairs:
                yield key


class Batch(ABC):
    """Writes that happen together or not at all. The last operation on a key is the one that counts.

    As a context manager it writes itself at the end of the block, unless the block raised:

        with ctx.db.batch() as batch:
            batch.put(b"height", height)
            batch.delete(b"pending")
    """

    def __init__(self) -> None:
        self._operations: dict[bytes, bytes | None] = {}

    def put(self, key: bytes, value: bytes) -> None:
        """Insert or overwrite *key* when the batch is written."""
        self._operations[as_bytes(key)] = as_bytes(value)

    def delete(self, key: bytes) -> None:
        """Remove *key* when the batch is written; a missing key is no error."""
        self._operations[as_bytes(key)] = None

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.put(key, value)

    def __delitem__(self, key: bytes) -> None:
        self.delete(key)

    def clear(self) -> None:
        """Forget every operation, so that the batch can be filled again."""
        self._operations.clear()

    @property
    def operations(self) -> dict[bytes, bytes | None]:
        """The last operation on each key: the value put, or None for a delete. A copy."""
        return dict(self._operations)

    @property
    def size(self) -> int:
        """Bytes of the keys and values that a write would send."""
        return sum(len(key) + len(value or b"") for key, value in self._operations.items())

    def __len__(self) -> int:
        return len(self._operations)

    @abstractmethod
    def write(self) -> None:
        """Apply all operations atomically. The batch keeps them: `clear` it before filling it anew."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.write()


class DatabaseIterator(ABC):
    """Key-value pairs in ascending order of keys. Released at exhaustion, on error, by `release`,
    at the end of its `with` block, or at the latest when it is garbage."""

    @abstractmethod
    def __next__(self) -> tuple[bytes, bytes]: ...

    @abstractmethod
    def release(self) -> None:
        """Free what the iterator holds at the node. Harmless when repeated; the iterator then ends."""

    def __iter__(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def as_bytes(value: bytes) -> bytes:
    """*value*, which may be any bytes-like object. `bytes(7)` would be seven zero bytes, not an error."""
    return value if type(value) is bytes else bytes(memoryview(value))
