"""The node's disk: ordered pairs of bytes in one SQLite file."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from heapq import merge
from pathlib import Path

from typing_extensions import Self

from vmsdk.host.errors import DatabaseInUse, DatabaseUnreadable, DatabaseUnwritable

# Without row IDs the table is one tree, sorted by the bytes of the keys.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS pairs (
    space BLOB NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (space, key)
) WITHOUT ROWID
"""
# "vmsk" in ASCII marks our files.
_APPLICATION_ID = 0x766D736B

# How much a Python loop over an iterator fetches at once.
_READ_AHEAD_BYTES = 64 * 1024

# Each transaction in memory takes SQLite some time for every page that the database has.
# A file has the same pages, since a copy in memory takes them over.
_PAGE_BYTES = 16 * 1024

_IN_MEMORY = ":memory:"


class SQLiteDatabase:
    """Pairs of bytes in the file *path*, or in memory if None. Thread-safe; survives a SIGKILL.

    One file has several key spaces (of a chain, shared memory, ...), so that one transaction can
    change them together. Raises `DatabaseInUse` or `DatabaseUnreadable`.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._in_transaction = False
        self._rollbacks = 0
        self._iterators: dict[bytes, set[SnapshotIterator]] = {}
        try:
            self._connection = sqlite3.connect(
                _IN_MEMORY if path is None else path,
                timeout=0,
                isolation_level=None,  # Autocommit: this class begins transactions.
                check_same_thread=False,
            )
        except sqlite3.DatabaseError as error:
            raise _why(path, error) from None
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise _why(path, error) from None

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute(f"PRAGMA page_size = {_PAGE_BYTES}")  # of a new database; others keep theirs
        # One process at a time: no shared-memory file, and no locking for each call.
        execute("PRAGMA locking_mode = EXCLUSIVE")
        (application_id,) = execute("PRAGMA application_id").fetchone()
        (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application_id != _APPLICATION_ID:
            raise sqlite3.DatabaseError("it is the SQLite file of another program")
        execute("PRAGMA journal_mode = WAL")
        # With a write-ahead log, NORMAL loses nothing when this process is killed.
        execute("PRAGMA synchronous = NORMAL")
        if not tables:  # else write nothing, so that a database on a full disk can be read
            execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        execute("BEGIN IMMEDIATE")
        execute(_SCHEMA)
        execute("COMMIT")

    def space(self, name: bytes) -> KeySpace:
        """Return the key space called *name*, which is empty at first."""
        return KeySpace(self, name)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all writes in the block, or none if it raises. Other threads wait.

        A nested transaction is part of the outer one. Raises `DatabaseUnwritable` if the disk is
        full, for instance.
        """
        with self._lock:
            if self._in_transaction:
                yield
                return
            self._in_transaction = True
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            except BaseException as error:
                self._rollbacks += 1
                if self._connection.in_transaction:  # SQLite ends it by itself if the disk is full
                    self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    raise DatabaseUnwritable(self.path, str(error)) from None
                raise
            finally:
                self._in_transaction = False

    def copy_to(self, other: SQLiteDatabase) -> None:
        """Make *other* hold the same pairs as this database.

        Raises `DatabaseUnwritable`, such as on a full disk; a file is unchanged then.
        """
        with self._lock, other._lock:
            if other.path is None:  # its pages must have the size of these
                other._connection.close()
                other._connection = sqlite3.connect(_IN_MEMORY, isolation_level=None, check_same_thread=False)
                (page_bytes,) = self._connection.execute("PRAGMA page_size").fetchone()
                other._connection.execute(f"PRAGMA page_size = {page_bytes}")
            try:
                self._connection.backup(other._connection)
            except sqlite3.OperationalError as error:
                raise DatabaseUnwritable(other.path, str(error)) from None

    def close(self) -> None:
        """Close the file; later use raises. Idempotent."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SQLiteDatabase {self.path or 'in memory'}>"

    def _keep_for_iterators(self, space: bytes, keys: Iterable[bytes]) -> None:
        iterators = self._iterators.get(space)
        for key in keys if iterators else ():
            waiting = [iterator for iterator in iterators or () if iterator._will_reach(key)]
            if waiting:
                value = self.space(space).get(key)
                for iterator in waiting:
                    iterator._kept[key] = value

    def _select(self, space: bytes, low: bytes, after: bool, high: bytes | None) -> sqlite3.Cursor:
        where = f"space = ? AND key {'>' if after else '>='} ?" + ("" if high is None else " AND key < ?")
        bounds = (space, low) if high is None else (space, low, high)
        return self._connection.execute(f"SELECT key, value FROM pairs WHERE {where} ORDER BY key", bounds)


class KeySpace:
    """The pairs of one owner in an `SQLiteDatabase`. Keys may be empty."""

    def __init__(self, database: SQLiteDatabase, name: bytes) -> None:
        self.database = database
        self.name = name
        self._recordings: list[Recording] = []

    def record(self, *, before: bool = False) -> Recording:
        """Record writes from now on; with *before*, also the values that they replace."""
        return Recording(self, before)

    def count(self) -> int:
        """The number of pairs."""
        with self.database._lock:
            row = self.database._connection.execute(
                "SELECT count(*) FROM pairs WHERE space = ?", (self.name,)
            ).fetchone()
        return int(row[0])

    def get(self, key: bytes) -> bytes | None:
        """Return the value of *key*, or None."""
        with self.database._lock:
            row = self.database._connection.execute(
                "SELECT value FROM pairs WHERE space = ? AND key = ?", (self.name, key)
            ).fetchone()
        return None if row is None else row[0]

    def put(self, key: bytes, value: bytes) -> None:
        """Insert or overwrite *key*."""
        self.write([(key, value)], ())

    def delete(self, key: bytes) -> None:
        """Remove *key*. A missing key is not an error."""
        self.write((), [key])

    def write(self, puts: Iterable[tuple[bytes, bytes]], deletes: Iterable[bytes]) -> None:
        """Apply all *puts* in order, then all *deletes*, atomically."""
        written: dict[bytes, bytes | None] = {**dict(puts), **dict.fromkeys(deletes)}
        with self.database.transaction():
            self.database._keep_for_iterators(self.name, written)
            for recording in self._recordings:
                recording._add(written)
            execute_many = self.database._connection.executemany
            execute_many(
                "INSERT OR REPLACE INTO pairs VALUES (?, ?, ?)",
                [(self.name, key, value) for key, value in written.items() if value is not None],
            )
            execute_many(
                "DELETE FROM pairs WHERE space = ? AND key = ?",
                [(self.name, key) for key, value in written.items() if value is None],
            )

    def iterate(self, *, prefix: bytes = b"", start: bytes = b"") -> SnapshotIterator:
        """Iterate over the present pairs with *prefix* from *start* on, in ascending order."""
        return SnapshotIterator(self, prefix=prefix, start=start)

    def items(self) -> list[tuple[bytes, bytes]]:
        """Return all pairs in ascending order."""
        iterator = self.iterate()
        try:
            return list(iterator)
        finally:
            iterator.release()


class Recording:
    """Records what is written in *space* from one `take` to the next, until `stop`."""

    def __init__(self, space: KeySpace, before: bool) -> None:
        self._space = space
        self._keeps_before = before
        self._written: dict[bytes, tuple[bytes | None, bytes | None]] = {}
        with space.database._lock:
            self._rollbacks = space.database._rollbacks
            space._recordings.append(self)

    def take(self) -> dict[bytes, tuple[bytes | None, bytes | None]]:
        """Return the keys written since the last call, each with its old and new value.

        Unless those are recorded, old values are None.
        """
        database = self._space.database
        with database._lock:
            written, self._written = self._written, {}
            if self._rollbacks != database._rollbacks:
                self._rollbacks = database._rollbacks
                written = {key: (before, self._space.get(key)) for key, (before, _) in written.items()}
        return written

    def keys(self) -> set[bytes]:
        """Return the keys written since the last `take`."""
        with self._space.database._lock:
            return set(self._written)

    def stop(self) -> None:
        """Record no more. Idempotent."""
        with self._space.database._lock:
            if self in self._space._recordings:
                self._space._recordings.remove(self)
            self._written = {}

    def _add(self, written: Mapping[bytes, bytes | None]) -> None:
        for key, value in written.items():
            before = None
            if self._keeps_before:
                earlier = self._written.get(key)
                before = self._space.get(key) if earlier is None else earlier[0]
            self._written[key] = before, value


class SnapshotIterator:
    """Pairs in ascending order of keys, as they were when the iterator was created.

    Writers save the old value of each key that an iterator has yet to reach. So an iterator needs
    no read transaction, which would make the write-ahead log grow, and works in memory, too.
    """

    def __init__(self, space: KeySpace, *, prefix: bytes, start: bytes) -> None:
        self._space = space
        self._prefix = prefix
        self._low = max(prefix, start)
        self._high = _end_of_prefix(prefix)
        self._passed = False
        """Whether `_low` itself has been returned."""
        self._kept: dict[bytes, bytes | None] = {}
        with space.database._lock:
            space.database._iterators.setdefault(space.name, set()).add(self)

    def page(self, size: int) -> list[tuple[bytes, bytes]]:
        """Return the next pairs, until keys and values reach *size* bytes; empty at the end."""
        database = self._space.database
        pairs: list[tuple[bytes, bytes]] = []
        with database._lock:
            rows = database._select(self._space.name, self._low, self._passed, self._high)
            try:
                for key, value in self._as_of_start(rows):
                    pairs.append((key, value))
                    size -= len(key) + len(value)
                    if size <= 0:
                        break
            finally:
                rows.close()
            if pairs:
                self._low, self._passed = pairs[-1][0], True
                self._kept = {key: value for key, value in self._kept.items() if key > self._low}
        return pairs

    def release(self) -> None:
        """Make writers forget this iterator. Idempotent."""
        with self._space.database._lock:
            self._space.database._iterators.get(self._space.name, set()).discard(self)
            self._kept = {}

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        while pairs := self.page(_READ_AHEAD_BYTES):
            yield from pairs

    def _as_of_start(self, rows: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        kept = self._kept
        if not kept:
            return iter(rows)
        unchanged = (row for row in rows if row[0] not in kept)
        old = sorted((key, value) for key, value in kept.items() if value is not None)
        return merge(unchanged, old)

    def _will_reach(self, key: bytes) -> bool:
        beyond = key > self._low or (key == self._low and not self._passed)
        return beyond and key.startswith(self._prefix) and key not in self._kept


def _why(path: Path | None, error: sqlite3.DatabaseError) -> Exception:
    if path is None:
        return error
    if "locked" in str(error):
        return DatabaseInUse(path)
    # An OperationalError comes from the system: a full or broken disk, a missing folder, ...
    return DatabaseUnreadable(path, str(error), is_damaged=not isinstance(error, sqlite3.OperationalError))


def _end_of_prefix(prefix: bytes) -> bytes | None:
    """Return the lowest key above all keys with *prefix*; None if there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None
