"""A `Chain` with its feed and an index that follows it, over crashes."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.unit.chain.engine import Engine
from tests.unit.chain.test_feed import DEADLINE_S
from vmsdk import chain
from vmsdk.chain.block import Block, Header
from vmsdk.chain.history import PRUNE_BLOCKS
from vmsdk.ids import ID
from vmsdk.memorydb import MemoryDatabase


class Entries(chain.SQLiteFollower[Block]):
    """The transactions of all blocks, in order."""

    schema = "CREATE TABLE IF NOT EXISTS entries (height INTEGER, entry BLOB)"

    def add(self, db: sqlite3.Connection, block: Block) -> None:
        db.executemany("INSERT INTO entries VALUES (?, ?)", [(block.height, tx) for tx in block.transactions])

    def all(self) -> list[tuple[int, bytes]]:
        with self.read() as db:
            return db.execute("SELECT * FROM entries ORDER BY rowid").fetchall()


class Book(chain.Chain):
    version = "1.0.0"

    def __init__(self, path: Path) -> None:
        self.entries = Entries(path)

    def execute(self, state: chain.State, tx: Any, block: Header) -> None:
        state[tx] = b""

    def followers(self) -> Iterable[chain.Follower[Block]]:
        return [self.entries]


def write(engine: Engine, *texts: bytes) -> None:
    for text in texts:
        engine.vm.submit(text)
        engine.produce()


def test_the_feed_has_stored_and_new_blocks_and_ends_with_the_chain(tmp_path: Path) -> None:
    engine = Engine(Book(tmp_path / "index.db"))
    write(engine, b"one", b"two")
    reader = engine.vm.feed.blocks(0, timeout=0)
    assert [block.transactions for block in reader] == [(), (b"one",), (b"two",)]
    write(engine, b"three")
    assert [block.height for block in reader] == [3]
    engine.stop()
    assert list(engine.vm.feed.blocks(4)) == []


def test_an_index_gets_what_a_crash_made_it_miss_exactly_once(tmp_path: Path) -> None:
    database = MemoryDatabase()
    engine = Engine(Book(tmp_path / "index.db"), database)
    write(engine, b"one", b"two")
    engine.vm.entries.wait_for(2, DEADLINE_S)
    assert engine.vm.entries.all() == [(1, b"one"), (2, b"two")]
    engine.stop()

    without = Engine(Book(tmp_path / "another.db"), database)
    write(without, b"three", b"four")
    without.stop()

    again = Engine(Book(tmp_path / "index.db"), database)
    again.vm.entries.wait_for(4, DEADLINE_S)
    write(again, b"five")
    again.vm.entries.wait_for(5, DEADLINE_S)
    texts = [b"one", b"two", b"three", b"four", b"five"]
    assert again.vm.entries.all() == list(enumerate(texts, 1))
    again.stop()


class Pruned(Book):
    limits = chain.Limits(blocks=10, receipts=5)

    def __init__(self, entries: Entries) -> None:
        self.entries = entries


class Held(Entries):
    """An index that waits before it is opened, and before block 3."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.may_open, self.is_at_3, self.may_go_on = (threading.Event() for _ in range(3))

    def open(self) -> None:
        assert self.may_open.wait(DEADLINE_S)
        super().open()

    def add(self, db: sqlite3.Connection, block: Block) -> None:
        if block.height == 3:
            self.is_at_3.set()
            assert self.may_go_on.wait(DEADLINE_S)
        super().add(db, block)


def first_stored(engine: Engine) -> int:
    """The height of the first block that is not pruned, but for the genesis block."""
    engine.vm._worker.submit(lambda: None).result(DEADLINE_S)
    (block,) = engine.vm.blocks(1, limit=1)
    return int(block.height)


def test_blocks_are_not_pruned_before_the_index_has_them(tmp_path: Path) -> None:
    index = Held(tmp_path / "index.db")
    engine = Engine(Pruned(index))
    texts = [b"%d" % number for number in range(1, 3 * PRUNE_BLOCKS + 1)]
    write(engine, *texts[:-PRUNE_BLOCKS])
    assert first_stored(engine) == 1  # the index is not open, so nobody knows what it has
    index.may_open.set()
    assert index.is_at_3.wait(DEADLINE_S)
    write(engine, *texts[-PRUNE_BLOCKS:])
    assert first_stored(engine) == 1
    assert engine.vm.receipt(ID.of(texts[2])).height == 3
    index.may_go_on.set()
    index.wait_for(len(texts), DEADLINE_S)
    assert index.all() == list(enumerate(texts, 1))
    write(engine, b"more")
    assert first_stored(engine) == 1 + PRUNE_BLOCKS
    engine.stop()


def test_an_index_that_lacks_pruned_blocks_does_not_keep_the_others(tmp_path: Path) -> None:
    class Alone(Pruned):
        def followers(self) -> Iterable[chain.Follower[Block]]:
            return ()

    database = MemoryDatabase()
    engine = Engine(Alone(Entries(tmp_path / "index.db")), database)
    write(engine, *(b"%d" % number for number in range(2 * PRUNE_BLOCKS)))
    assert first_stored(engine) == 1 + PRUNE_BLOCKS
    engine.stop()

    again = Engine(Pruned(Entries(tmp_path / "index.db")), database)
    again.vm.entries.wait_for(0, DEADLINE_S)  # the genesis block
    write(again, *(b"more %d" % number for number in range(PRUNE_BLOCKS)))
    assert first_stored(again) == 1 + 2 * PRUNE_BLOCKS
    again.stop()
