"""What every database offers on top of the few methods that each implements."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable

import pytest
from typing_extensions import override

from vmsdk.database import Batch, Database, DatabaseIterator
from vmsdk.errors import NotFound
from vmsdk.memorydb import MemoryDatabase


class ListIterator(DatabaseIterator):
    """Counts its releases, as a node would count its open iterators."""

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self.pairs = iter(pairs)
        self.releases = 0

    @override
    def __next__(self) -> tuple[bytes, bytes]:
        return next(self.pairs)

    @override
    def release(self) -> None:
        self.releases += 1


class CountingDatabase(MemoryDatabase):
    """Remembers the iterators that it gave out."""

    def __init__(self, content: dict[bytes, bytes]) -> None:
        super().__init__(content)
        self.iterators: list[ListIterator] = []

    @override
    def iterate(self, *, prefix: bytes = b"", start: bytes = b"") -> DatabaseIterator:
        self.iterators.append(ListIterator(super().iterate(prefix=prefix, start=start)))
        return self.iterators[-1]


def parse(pair: tuple[bytes, bytes]) -> None:
    raise ValueError(f"{pair} is not a number")


@pytest.fixture
def db() -> Database:
    return MemoryDatabase({b"key": b"value", b"empty": b""})


def test_get_gives_the_value_or_the_default_or_none(db: Database) -> None:
    assert db.get(b"key") == b"value"
    assert db.get(b"missing") is None
    assert db.get(b"missing", b"default") == b"default"


def test_an_empty_value_is_a_value(db: Database) -> None:
    assert db.get(b"empty", b"default") == b""
    assert db[b"empty"] == b""
    assert b"empty" in db


def test_brackets_raise_not_found_which_names_the_key_in_hexadecimal(db: Database) -> None:
    assert db[b"key"] == b"value"
    with pytest.raises(NotFound, match="no key b'ab' in the database"):
        db[b"ab"]
    with pytest.raises(KeyError):
        db[b"ab"]


def test_brackets_write_and_delete(db: Database) -> None:
    db[b"new"] = b"1"
    assert db[b"new"] == b"1"
    del db[b"new"]
    del db[b"new"]  # a missing key is not an error
    assert b"new" not in db


def test_iterating_over_the_database_gives_its_keys_in_order_and_releases_the_iterator() -> None:
    db = CountingDatabase({b"b": b"", b"a": b""})
    assert list(db) == [b"a", b"b"]
    assert [iterator.releases for iterator in db.iterators] == [1]


def test_an_iteration_that_is_given_up_is_released_too() -> None:
    db = CountingDatabase({b"b": b"", b"a": b""})
    keys = iter(db)
    assert next(keys) == b"a"
    del keys
    gc.collect()
    assert db.iterators[0].releases == 1


def test_an_iterator_is_released_at_the_end_of_its_block_also_after_an_error() -> None:
    whole, broken = ListIterator([(b"a", b"1")]), ListIterator([(b"a", b"1")])
    with whole as pairs:
        assert next(pairs) == (b"a", b"1")
    with pytest.raises(ValueError, match="not a number"), broken as pairs:
        parse(next(pairs))
    assert (whole.releases, broken.releases) == (1, 1)


def test_a_batch_keeps_the_last_operation_on_each_key(db: Database) -> None:
    batch = db.batch()
    batch.put(b"a", b"1")
    batch.delete(b"a")
    batch[b"b"] = b"2"
    del batch[b"c"]
    batch.put(b"c", b"3")
    assert batch.operations == {b"a": None, b"b": b"2", b"c": b"3"}
    assert len(batch) == 3


def test_the_operations_of_a_batch_are_a_copy(db: Database) -> None:
    batch = db.batch()
    batch.put(b"a", b"1")
    batch.operations.clear()
    assert len(batch) == 1


def test_the_size_of_a_batch_is_what_a_write_sends(db: Database) -> None:
    batch = db.batch()
    batch.put(b"key", b"value")
    batch.put(b"key", b"values")
    batch.delete(b"gone")
    assert batch.size == 3 + 6 + 4
    batch.clear()
    assert (batch.size, len(batch)) == (0, 0)


def test_a_batch_writes_itself_at_the_end_of_its_block(db: Database) -> None:
    with db.batch() as batch:
        batch.put(b"new", b"1")
        batch.delete(b"key")
        assert b"new" not in db
    assert db[b"new"] == b"1"
    assert b"key" not in db


def test_a_batch_whose_block_raises_writes_nothing(db: Database) -> None:
    def fill(batch: Batch) -> None:
        batch.put(b"new", b"1")
        batch.put(b"other", db[b"missing"])

    with pytest.raises(NotFound), db.batch() as batch:
        fill(batch)
    assert b"new" not in db


def test_a_batch_keeps_its_operations_after_a_write(db: Database) -> None:
    batch = db.batch()
    batch.put(b"a", b"1")
    batch.write()
    db.delete(b"a")
    batch.write()
    assert db[b"a"] == b"1"


def test_a_batch_takes_a_copy_of_what_can_change_later(db: Database) -> None:
    key, value = bytearray(b"k"), bytearray(b"v")
    batch = db.batch()
    batch.put(key, value)  # type: ignore[arg-type]
    key[:] = value[:] = b"x"
    batch.write()
    assert db[b"k"] == b"v"


@pytest.mark.parametrize("wrong", [7, "text", None])
def test_a_number_or_a_text_is_neither_key_nor_value(db: Database, wrong: bytes) -> None:
    batch: Batch = db.batch()
    for write in (batch.put, db.put):
        with pytest.raises(TypeError):
            write(wrong, b"")
        with pytest.raises(TypeError):
            write(b"", wrong)
    with pytest.raises(TypeError):
        batch.delete(wrong)
    with pytest.raises(TypeError):
        db.get(wrong)
    with pytest.raises(TypeError):
        _ = wrong in db
    assert len(batch) == 0
    assert list(db) == [b"empty", b"key"]


def test_the_size_of_a_batch_follows_every_operation(db: Database) -> None:
    batch = db.batch()
    steps: list[tuple[Callable[[], None], int]] = [
        (lambda: batch.put(b"key", b"value"), 8),
        (lambda: batch.put(b"key", b"longer value"), 15),
        (lambda: batch.delete(b"key"), 3),
        (lambda: batch.delete(b"key"), 3),
        (lambda: batch.put(b"key", b""), 3),
        (lambda: batch.delete(b"other"), 8),
        (batch.clear, 0),
    ]
    for operation, size in steps:
        operation()
        assert (
            batch.size == size == sum(len(key) + len(value or b"") for key, value in batch.operations.items())
        )


def test_a_value_that_is_not_bytes_is_named(db: Database) -> None:
    with pytest.raises(TypeError, match=r"^keys and values are bytes, and 'text' is of type str$"):
        db.put(b"key", "text")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^keys and values are bytes, and 7 is of type int$"):
        db.batch().put(7, b"")  # type: ignore[arg-type]
