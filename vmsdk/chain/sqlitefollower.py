"""A follower that keeps its index in an SQLite file."""

from __future__ import annotations

import sqlite3
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from vmsdk.chain.derived import Follower
from vmsdk.chain.feed import BlockT
from vmsdk.errors import VMError

_HEIGHT = "CREATE TABLE IF NOT EXISTS vmsdk_follower (id INTEGER PRIMARY KEY CHECK (id = 0), height INTEGER)"


class SQLiteFollower(Follower[BlockT]):
    """An index in the SQLite file at *path*, such as `ctx.chain_data_dir / "index.db"`.

    Each block and the height are one transaction, so the index has each block exactly once.
    """

    schema: ClassVar[str]
    """The SQL that creates the tables, with `IF NOT EXISTS`. It runs at each start."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @abstractmethod
    def add(self, db: sqlite3.Connection, block: BlockT) -> None:
        """Add a block, by statements on *db*, in a transaction that vmsdk commits."""

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A read-only connection for handlers, from any thread. The follower never blocks it."""
        db = sqlite3.connect(f"file:{quote(str(self.path))}?mode=ro", uri=True)
        try:
            yield db
        finally:
            db.close()

    def open(self) -> None:
        db = sqlite3.connect(self.path, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = WAL")  # Readers don't wait for the writer.
            db.execute("PRAGMA synchronous = NORMAL")  # A power failure may lose blocks, which are replayed.
            db.executescript(f"{self.schema}; {_HEIGHT}")
            db.execute("INSERT OR IGNORE INTO vmsdk_follower VALUES (0, -1)")
        except BaseException:
            db.close()
            raise
        self._db = db

    def close(self) -> None:
        self._db.close()

    def height(self) -> int:
        height: int = self._db.execute("SELECT height FROM vmsdk_follower").fetchone()[0]
        return height

    def apply(self, block: BlockT) -> None:
        with self._db:
            self._db.execute("BEGIN")
            self.add(self._db, block)
            if not self._db.in_transaction:
                raise VMError(
                    f"{self._name}.add has ended the transaction, so the block may be added again: leave out "
                    "commit() and rollback()"
                )
            self._db.execute("UPDATE vmsdk_follower SET height = ?", (block.height,))
