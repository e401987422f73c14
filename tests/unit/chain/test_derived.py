"""`vmsdk.chain.Follower`: an author's index that follows the accepted blocks."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.chain.test_feed import DEADLINE_S, Block, Store
from vmsdk.chain import derived
from vmsdk.chain.derived import Follower
from vmsdk.chain.sqlitefollower import SQLiteFollower
from vmsdk.errors import VMError

LOG = logging.getLogger("chain")


class Index(Follower[Block]):
    """An index in memory, which outlives the follower as a file would."""

    def __init__(self, kept: list[int] | None = None) -> None:
        self.kept = [] if kept is None else kept
        self.fail: dict[int, BaseException] = {}
        self.is_open = False

    def open(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def height(self) -> int:
        return self.kept[-1] if self.kept else -1

    def apply(self, block: Block) -> None:
        error = self.fail.pop(block.height, None)
        if error is not None:
            raise error
        self.kept.append(block.height)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derived, "FIRST_RETRY_S", 0.001)
    monkeypatch.setattr(derived, "MAX_RETRY_S", 0.001)


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store(3)
    yield store
    store.feed.close()


def follow(store: Store, index: Follower[Block]) -> Any:
    index.start(store.feed, LOG)
    return index


def end(store: Store, index: Follower[Block]) -> None:
    store.feed.close()
    index.stop(DEADLINE_S)
    assert index._thread is not None
    assert not index._thread.is_alive()


def test_an_index_gets_what_is_stored_and_then_what_is_accepted(store: Store) -> None:
    index = follow(store, Index())
    index.wait_for(2, DEADLINE_S)
    store.accept(4)
    index.wait_for(6, DEADLINE_S)
    assert index.kept == list(range(7))
    assert index.is_open
    end(store, index)
    assert not index.is_open


def test_what_was_missed_is_replayed_from_the_height_that_the_index_stores(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    index = follow(store, Index([0]))
    index.wait_for(2, DEADLINE_S)
    assert index.kept == [0, 1, 2]
    assert caplog.messages == ["Index is at height 0; replaying to 2"]
    end(store, index)


@pytest.mark.parametrize("error", [RuntimeError("disk full"), SystemExit(1)])
def test_a_block_that_fails_is_logged_and_tried_again_and_the_chain_goes_on(
    store: Store, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    index = Index()
    index.fail[1] = error
    follow(store, index)
    store.accept()
    index.wait_for(3, DEADLINE_S)
    assert index.kept == [0, 1, 2, 3]
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage().startswith(f"Index failed at height 1: {error!r}; trying again in ")
    assert record.exc_info
    end(store, index)


class Broken(Index):
    def __init__(self) -> None:
        super().__init__()
        self.tries = threading.Semaphore(0)

    def apply(self, block: Block) -> None:
        self.tries.release()
        raise ValueError("no room")


def test_a_failure_that_lasts_has_one_traceback(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    index = follow(store, Broken())
    for _ in range(3):
        assert index.tries.acquire(timeout=DEADLINE_S)
    with pytest.raises(TimeoutError, match="Broken is still at height -1, not at 2, after 0 s") as caught:
        index.wait_for(2, 0)
    assert isinstance(caught.value.__cause__, ValueError)
    end(store, index)
    assert len([record for record in caplog.records if record.exc_info]) == 1


def test_the_pause_after_a_failure_does_not_hold_up_the_stop(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(derived, "FIRST_RETRY_S", 3_600.0)
    index = follow(store, Broken())
    assert index.tries.acquire(timeout=DEADLINE_S)
    end(store, index)


def test_an_error_after_the_commit_does_not_apply_the_block_twice(store: Store) -> None:
    class Late(Index):
        def apply(self, block: Block) -> None:
            error = self.fail.pop(block.height, None)
            self.kept.append(block.height)
            if error is not None:
                raise error

    index = Late()
    index.fail[1] = OSError("the connection broke after the commit")
    follow(store, index).wait_for(2, DEADLINE_S)
    assert index.kept == [0, 1, 2]
    end(store, index)


def test_an_index_that_forgets_its_height_stops_with_the_cure(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    class Forgetful(Index):
        def apply(self, block: Block) -> None: ...

    index = follow(store, Forgetful())
    with pytest.raises(VMError, match="Forgetful stopped at height -1, before 0") as caught:
        index.wait_for(0, DEADLINE_S)
    assert "store the height in the same transaction" in str(caught.value.__cause__)
    assert "store the height in the same transaction" in caplog.text
    end(store, index)


def test_an_index_ahead_of_the_chain_warns_and_waits(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    index = follow(store, Index([4]))
    store.accept(3)
    index.wait_for(5, DEADLINE_S)
    assert index.kept == [4, 5]
    assert "Index is at height 4, but the last accepted block is at 2" in caplog.text
    end(store, index)


def test_an_index_that_can_not_be_opened_yet_is_opened_later(store: Store) -> None:
    class Shy(Index):
        tries = 0

        def open(self) -> None:
            self.tries += 1
            if self.tries < 3:
                raise ConnectionRefusedError("the search engine is starting")

    index = follow(store, Shy())
    index.wait_for(2, DEADLINE_S)
    assert index.tries == 3
    end(store, index)


def test_one_object_follows_one_chain(store: Store) -> None:
    index = follow(store, Index())
    with pytest.raises(VMError, match="Index already follows a chain"):
        index.start(store.feed, LOG)
    with pytest.raises(VMError, match="Index doesn't follow a chain yet"):
        Index().wait_for(0)
    index.wait_for(2, DEADLINE_S)
    end(store, index)
    with pytest.raises(VMError, match="Index stopped at height 2, before 9"):
        index.wait_for(9)


class Sizes(SQLiteFollower[Block]):
    schema = "CREATE TABLE IF NOT EXISTS sizes (height INTEGER PRIMARY KEY, size INTEGER)"
    crash_at = -1

    def add(self, db: sqlite3.Connection, block: Block) -> None:
        db.execute("INSERT INTO sizes VALUES (?, ?)", (block.height, len(block.raw)))
        if block.height == self.crash_at:
            self.crash_at = -1
            raise RuntimeError("between the data and the height")


def rows(index: Sizes) -> list[tuple[int, int]]:
    with index.read() as db:
        return db.execute("SELECT height, size FROM sizes ORDER BY height").fetchall()


def test_sqlite_keeps_data_and_height_in_one_transaction(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "an index, 100% ours?.db"
    index = Sizes(path)
    index.crash_at = 1
    follow(store, index).wait_for(2, DEADLINE_S)
    assert rows(index) == [(0, 5), (1, 5), (2, 5)]
    end(store, index)

    later = Store(5)
    again = follow(later, Sizes(path))
    again.wait_for(4, DEADLINE_S)
    assert [height for height, _ in rows(again)] == [0, 1, 2, 3, 4]
    end(later, again)


def test_a_reader_of_sqlite_can_not_write(store: Store, tmp_path: Path) -> None:
    index = follow(store, Sizes(tmp_path / "index.db"))
    index.wait_for(2, DEADLINE_S)
    with index.read() as db, pytest.raises(sqlite3.OperationalError, match="readonly"):
        db.execute("DELETE FROM sizes")
    end(store, index)


def test_two_followers_do_not_share_a_file(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = follow(store, Sizes(tmp_path / "index.db"))
    first.wait_for(2, DEADLINE_S)
    os.link(tmp_path / "index.db", tmp_path / "same.db")
    second = Sizes(tmp_path / "same.db")
    with pytest.raises(VMError, match=r"same\.db is the file of another follower.*its own file, Sizes too"):
        second.open()
    end(store, first)
    second.open()  # the other one has ended
    assert second.height() == 2
    second.close()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_deleted_while_it_is_open_is_filled_again(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, replaced: bool
) -> None:
    path = tmp_path / "index.db"
    index = follow(store, Sizes(path))
    index.wait_for(2, DEADLINE_S)
    for file in tmp_path.iterdir():
        file.unlink()
    if replaced:
        path.touch()
    store.accept()
    index.wait_for(3, DEADLINE_S)
    assert [height for height, _ in rows(index)] == [0, 1, 2, 3]
    assert "index.db was deleted or replaced while it was open: it will be rebuilt" in caplog.text
    end(store, index)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("CREATE TABEL sizes (height)", 'near "TABEL": syntax error'),
        ("CREATE TABLE IF NOT EXISTS sizes (height", "incomplete input"),
        ("CREATE TABLE sizes (height)", "table sizes already exists"),
        ("CREATE INDEX IF NOT EXISTS by_time ON sizes (time)", "no such column: time"),
        ("CREATE INDEX IF NOT EXISTS by_time ON times (time)", "no such table: main.times"),
        ("BEGIN; CREATE TABLE IF NOT EXISTS sizes (height)", "leaves a transaction open: leave out BEGIN"),
    ],
)
def test_a_mistake_in_the_schema_is_not_taken_for_a_damaged_file(
    tmp_path: Path, schema: str, message: str
) -> None:
    path = tmp_path / "index.db"
    good = Sizes(path)
    good.open()
    good.close()
    bad = type("Bad", (Sizes,), {"schema": schema})(path)
    with pytest.raises(VMError, match=rf"Bad\.schema .*{message}") as caught:
        bad.open()
    assert "damaged" not in str(caught.value)
    good.open()
    good.close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/index.db", "can't open .*missing/index.db: .*; is its folder there"),
        ("damaged.db", "can't use .*damaged.db: file is not a database; if the file is damaged, delete it"),
    ],
)
def test_a_file_that_can_not_be_used_is_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "damaged.db").write_bytes(b"damaged " * 1_000)
    index = Sizes(tmp_path / name)
    with pytest.raises(VMError, match=message):
        index.open()
    assert index.path.parent == tmp_path / "missing" or index.path.read_bytes() == b"damaged " * 1_000
    nowhere = Sizes(tmp_path / "nowhere.db").read()
    with pytest.raises(sqlite3.OperationalError, match=r"unable to open database file: .*nowhere\.db"):
        nowhere.__enter__()
