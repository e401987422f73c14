"""The node's disk."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.filelimit import largest_file
from vmsdk.host.errors import DatabaseInUse, DatabaseUnreadable, DatabaseUnwritable
from vmsdk.host.sqlite import KeySpace, SQLiteDatabase


@pytest.fixture
def database() -> Iterator[SQLiteDatabase]:
    with SQLiteDatabase() as database:
        yield database


@pytest.fixture
def space(database: SQLiteDatabase) -> KeySpace:
    return database.space(b"mine")


def test_key_spaces_of_one_file_are_apart(database: SQLiteDatabase, space: KeySpace) -> None:
    other = database.space(b"other")
    space.put(b"k", b"mine")
    other.put(b"k", b"other's")
    other.delete(b"missing")
    assert (space.items(), other.items()) == ([(b"k", b"mine")], [(b"k", b"other's")])
    assert list(database.space(b"min").iterate()) == []


def test_a_batch_puts_in_order_and_then_deletes(space: KeySpace) -> None:
    space.write([(b"a", b"1"), (b"a", b"2"), (b"b", b"3")], [b"b", b"c"])
    assert space.items() == [(b"a", b"2")]


def test_a_batch_that_fails_midway_changes_nothing(space: KeySpace) -> None:
    def puts() -> Iterator[tuple[bytes, bytes]]:
        yield b"a", b"1"
        raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        space.write(puts(), [])
    assert space.items() == []
    space.put(b"b", b"2")
    assert space.items() == [(b"b", b"2")]


def test_a_transaction_spans_key_spaces_and_inner_ones_are_part_of_it(
    database: SQLiteDatabase, space: KeySpace
) -> None:
    other = database.space(b"other")

    def fail_after_writing() -> None:
        with database.transaction():
            space.write([(b"a", b"1")], [])
            other.put(b"b", b"2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_writing()
    assert space.items() == other.items() == []


@settings(deadline=None)
@given(
    st.dictionaries(st.binary(max_size=4), st.binary(max_size=4)),
    st.binary(max_size=2),
    st.binary(max_size=3),
)
def test_iteration_is_in_byte_order_within_prefix_and_start(
    pairs: dict[bytes, bytes], prefix: bytes, start: bytes
) -> None:
    with SQLiteDatabase() as database:
        space = database.space(b"")
        space.write(pairs.items(), [])
        expected = [(key, pairs[key]) for key in sorted(pairs) if key.startswith(prefix) and key >= start]
        assert list(space.iterate(prefix=prefix, start=start)) == expected


Operations = st.lists(st.tuples(st.integers(0, 5), st.none() | st.binary(max_size=2)), max_size=8)


@settings(deadline=None)
@given(before=Operations, between=st.lists(Operations, max_size=8), page=st.integers(1, 12))
def test_an_iterator_shows_the_moment_it_was_made_whatever_is_written_between_its_pages(
    before: list[tuple[int, bytes | None]], between: list[list[tuple[int, bytes | None]]], page: int
) -> None:
    def write(space: KeySpace, operations: list[tuple[int, bytes | None]]) -> None:
        for number, value in operations:
            key = b"k%d" % number
            if value is None:
                space.delete(key)
            else:
                space.put(key, value)

    with SQLiteDatabase() as database:
        space = database.space(b"")
        write(space, before)
        expected = space.items()
        iterator = space.iterate(prefix=b"k")
        found: list[tuple[bytes, bytes]] = []
        for operations in between:
            write(space, operations)
            found += iterator.page(page)
        found += list(iterator)
        assert found == expected
        iterator.release()


def test_two_iterators_have_moments_of_their_own(space: KeySpace) -> None:
    space.put(b"a", b"1")
    first = space.iterate()
    space.put(b"a", b"2")
    second = space.iterate()
    space.put(b"a", b"3")
    assert list(first) == [(b"a", b"1")]
    assert list(second) == [(b"a", b"2")]
    assert space.items() == [(b"a", b"3")]


def test_a_rolled_back_write_is_not_seen_by_an_iterator_either(
    database: SQLiteDatabase, space: KeySpace
) -> None:
    space.put(b"a", b"1")
    iterator = space.iterate()

    def fail_after_writing() -> None:
        with database.transaction():
            space.put(b"a", b"2")
            space.put(b"b", b"2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_writing()
    assert list(iterator) == [(b"a", b"1")]


def test_threads_do_not_mix_their_transactions(space: KeySpace) -> None:
    def fill(start: int) -> None:
        for number in range(start, start + 50):
            space.write([(b"%d" % number, b"x"), (b"%d!" % number, b"x")], [b"%d!" % number])

    threads = [threading.Thread(target=fill, args=(start,)) for start in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(space.items()) == 150


def test_a_file_keeps_its_content(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    database = SQLiteDatabase(path)
    database.space(b"s").put(b"k", b"v")
    database.close()
    database.close()
    again = SQLiteDatabase(path)
    assert again.space(b"s").items() == [(b"k", b"v")]
    again.close()


def test_a_copy_in_memory_of_a_file_can_be_copied_back(tmp_path: Path) -> None:
    with SQLiteDatabase(tmp_path / "node.db") as file, SQLiteDatabase() as first, SQLiteDatabase() as second:
        space = file.space(b"s")
        space.put(b"k", b"before")
        first.space(b"s").put(b"other", b"content")
        file.copy_to(first)
        first.copy_to(second)
        space.write([(b"k", b"after"), (b"l", b"after")], [])
        second.space(b"s").put(b"m", b"in memory")
        second.copy_to(file)
        assert space.items() == [(b"k", b"before"), (b"m", b"in memory")]
        assert first.space(b"s").items() == [(b"k", b"before")]


def test_a_copy_in_memory_of_a_file_has_the_pages_of_a_database_in_memory(tmp_path: Path) -> None:
    with SQLiteDatabase(tmp_path / "node.db") as file, SQLiteDatabase() as copy, SQLiteDatabase() as fresh:
        file.copy_to(copy)
        sizes = {each._connection.execute("PRAGMA page_size").fetchone() for each in (copy, fresh)}
    assert len(sizes) == 1


def test_what_was_written_survives_a_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    writer = f"""
import os, signal, pathlib
from vmsdk.host.sqlite import SQLiteDatabase
space = SQLiteDatabase(pathlib.Path({str(path)!r})).space(b"s")
for number in range(200):
    space.write([(b"%03d" % number, bytes(1000))], [])
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", writer], check=False).returncode == -signal.SIGKILL
    database = SQLiteDatabase(path)
    assert [key for key, _ in database.space(b"s").items()] == [b"%03d" % number for number in range(200)]
    database.close()


def test_a_file_can_be_opened_once(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    database = SQLiteDatabase(path)
    with pytest.raises(DatabaseInUse, match=f"{path} is in use by another process"):
        SQLiteDatabase(path)
    database.close()
    SQLiteDatabase(path).close()


def test_a_file_that_is_not_a_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    path.write_bytes(b"precious data, not a database" * 100)
    with pytest.raises(DatabaseUnreadable, match="remove it to start over"):
        SQLiteDatabase(path)
    assert path.read_bytes().startswith(b"precious")


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE precious (x)")
    connection.close()
    with pytest.raises(DatabaseUnreadable, match="the SQLite file of another program"):
        SQLiteDatabase(path)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "node.db"
    with pytest.raises(DatabaseUnreadable, match=f"{path}: unable to open database file$"):
        SQLiteDatabase(path)


def test_a_disk_that_does_not_take_a_database_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    for left_bytes in (0, 20_000):
        with largest_file(left_bytes), pytest.raises(DatabaseUnreadable, match=f"{path}: disk I/O error$"):
            SQLiteDatabase(path)
    with SQLiteDatabase(path) as database:
        database.space(b"mine").put(b"a", b"0")
    with largest_file(0), SQLiteDatabase(path) as database:  # what it has can still be read
        assert database.space(b"mine").items() == [(b"a", b"0")]


def test_a_recording_has_each_key_once_with_what_it_was_and_is(space: KeySpace) -> None:
    space.put(b"a", b"0")
    recording, plain = space.record(before=True), space.record()
    space.write([(b"a", b"1"), (b"b", b"1"), (b"a", b"2")], [b"b", b"missing"])
    space.put(b"c", b"1")
    space.delete(b"c")
    assert recording.keys() == {b"a", b"b", b"c", b"missing"}
    written = {b"a": (b"0", b"2"), b"b": (None, None), b"missing": (None, None), b"c": (None, None)}
    assert recording.take() == written
    assert plain.take() == {key: (None, now) for key, (_, now) in written.items()}
    assert recording.take() == {}
    recording.stop()
    space.put(b"a", b"3")
    assert recording.take() == {}
    assert plain.take() == {b"a": (None, b"3")}


def test_a_recording_of_what_was_rolled_back_has_the_present_values(
    database: SQLiteDatabase, space: KeySpace
) -> None:
    space.put(b"a", b"0")
    recording = space.record(before=True)

    def fail_after_writing() -> None:
        with database.transaction():
            space.put(b"a", b"1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_writing()
    assert recording.take() == {b"a": (b"0", b"0")}


def test_a_recording_of_what_could_not_be_committed_has_the_present_values(
    database: SQLiteDatabase, space: KeySpace
) -> None:
    space.put(b"a", b"0")
    recording = space.record()
    for statement in (
        "PRAGMA foreign_keys = ON",
        "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
        "CREATE TABLE child (id REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
    ):
        database._connection.execute(statement)

    def write() -> None:
        with database.transaction():
            space.put(b"a", b"1")
            database._connection.execute("INSERT INTO child VALUES (7)")  # COMMIT refuses it

    with pytest.raises(sqlite3.IntegrityError):
        write()
    assert recording.take() == {b"a": (None, b"0")}
    space.put(b"a", b"2")
    assert recording.take() == {b"a": (None, b"2")}


def test_a_full_disk_is_named_and_leaves_the_database_usable(
    database: SQLiteDatabase, space: KeySpace
) -> None:
    space.put(b"a", b"0")
    recording = space.record()
    database._connection.execute("PRAGMA max_page_count = 20")
    with pytest.raises(DatabaseUnwritable, match="full"):
        space.put(b"a", bytes(1_000_000))
    assert recording.take() == {b"a": (None, b"0")}
    space.put(b"a", b"2")
    assert space.get(b"a") == b"2"
