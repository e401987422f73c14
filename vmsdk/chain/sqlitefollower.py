"""A follower that keeps its index in an SQLite file."""

from __future__ import annotations

import os
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


# The files that followers of this process have open.
_in_use: set[tuple[int, int]] = set()


class SQLiteFollower(Follower[BlockT]):
    """An index in the SQLite file at *path*, such as `ctx.chain_data_dir / "index.db"`.

    A block and its height are stored in one transaction, so the index gets each block exactly once.
    Each follower needs its own file. If the file is deleted or replaced, it is rebuilt.
    """

    schema: ClassVar[str]
    """The SQL that creates the tables. It runs at each start: use `CREATE TABLE IF NOT EXISTS` and
    `INSERT OR IGNORE`.
    """

    _set_at_start: ClassVar[tuple[str, ...]] = ("_db", "_identity")

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @abstractmethod
    def add(self, db: sqlite3.Connection, block: BlockT) -> None:
        """Add a block by executing statements on *db*, in a transaction that vmsdk commits."""

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A read-only connection for handlers, which the follower never blocks. Thread-safe."""
        try:
            db = sqlite3.connect(f"file:{quote(str(self.path))}?mode=ro", uri=True)
        except sqlite3.OperationalError as error:
            raise sqlite3.OperationalError(f"{error}: {self.path}") from None
        try:
            yield db
        finally:
            db.close()

    def open(self) -> None:
        if "path" not in vars(self):
            raise VMError(f"{self._name}.__init__ must call super().__init__(path)")
        try:
            db = sqlite3.connect(self.path, isolation_level=None)
        except sqlite3.OperationalError as error:
            raise VMError(f"{self._name} can't open {self.path}: {error}; is its folder there?") from error
        try:
            identity = self._on_disk()
            if identity is None or identity in _in_use:
                raise VMError(
                    f"{self.path} is the file of another follower, which may not have stopped yet: give each "
                    f"follower its own file, {self._name} too"
                )
            db.execute("PRAGMA journal_mode = WAL")  # Readers don't wait for the writer.
            db.execute("PRAGMA synchronous = NORMAL")  # A power failure may lose blocks, which are replayed.
            db.execute(_HEIGHT)
            db.execute("INSERT OR IGNORE INTO vmsdk_follower VALUES (0, -1)")
            self._create_tables(db)
        except sqlite3.DatabaseError as error:
            db.close()
            raise VMError(
                f"{self._name} can't use {self.path}: {error}; if the file is damaged, delete it, and it "
                "will be rebuilt"
            ) from error
        except BaseException:
            db.close()
            raise
        self._db, self._identity = db, identity
        _in_use.add(identity)

    def _create_tables(self, db: sqlite3.Connection) -> None:
        schema: object = getattr(self, "schema", None)
        if not isinstance(schema, str):
            raise VMError(f"{self._name}.schema is {schema!r}: set it to the SQL that creates the tables")
        try:
            db.executescript(schema)
        except (sqlite3.OperationalError, sqlite3.IntegrityError) as error:
            # Other operational errors, such as SQLITE_FULL, are not about the SQL. Python 3.10 does
            # not give their names.
            name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
            if isinstance(error, sqlite3.OperationalError) and name != "SQLITE_ERROR":
                raise
            raise VMError(
                f"{self._name}.schema fails: {error}. Correct its SQL, which runs at each start: use CREATE "
                f"TABLE IF NOT EXISTS and INSERT OR IGNORE. If {self.path} is from an earlier schema, "
                "delete the file; it will be rebuilt"
            ) from error
        if db.in_transaction:
            raise VMError(f"{self._name}.schema leaves a transaction open: leave out BEGIN, or add COMMIT")

    def close(self) -> None:
        _in_use.discard(self._identity)
        self._db.close()

    def _on_disk(self) -> tuple[int, int] | None:
        """The identity of the file that is at the path now."""
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def height(self) -> int:
        height: int = self._db.execute("SELECT height FROM vmsdk_follower").fetchone()[0]
        return height

    def apply(self, block: BlockT) -> None:
        if self._on_disk() != self._identity:
            db, identity = self._db, self._identity
            self.open()
            _in_use.discard(identity)
            db.close()
            raise VMError(f"{self.path} was deleted or replaced while it was open: it will be rebuilt")
        with self._db:
            self._db.execute("BEGIN")
            self.add(self._db, block)
            if not self._db.in_transaction:
                raise VMError(
                    f"{self._name}.add ended the transaction, so the block may be added twice: leave out "
                    "commit() and rollback()"
                )
            self._db.execute("UPDATE vmsdk_follower SET height = ?", (block.height,))
