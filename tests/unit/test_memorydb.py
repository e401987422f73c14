"""The database in memory follows the rules of the node's."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from vmsdk.database import Database
from vmsdk.errors import Closed
from vmsdk.memorydb import MemoryDatabase

CONTENT = {key: key.upper() for key in (b"", b"a", b"a\0", b"ab", b"b", b"\xff", b"\xff\xff")}


@pytest.fixture
def db() -> MemoryDatabase:
    return MemoryDatabase(dict(reversed(CONTENT.items())))


def keys(db: Database, *, prefix: bytes = b"", start: bytes = b"") -> list[bytes]:
    with db.iterate(prefix=prefix, start=start) as pairs:
        return [key for key, _ in pairs]


def test_pairs_come_in_the_order_of_their_bytes(db: MemoryDatabase) -> None:
    assert list(db.iterate()) == list(CONTENT.items())


def test_the_empty_key_is_a_key(db: MemoryDatabase) -> None:
    assert b"" in db
    db.delete(b"")
    assert b"" not in db
    assert b"" not in keys(db)


@pytest.mark.parametrize(
    ("prefix", "start", "expected"),
    [
        (b"a", b"", [b"a", b"a\0", b"ab"]),
        (b"", b"ab", [b"ab", b"b", b"\xff", b"\xff\xff"]),
        (b"a", b"a\0", [b"a\0", b"ab"]),
        (b"b", b"a", [b"b"]),
        (b"a", b"b", []),
        (b"\xff", b"", [b"\xff", b"\xff\xff"]),
        (b"\xff\xff\xff", b"", []),
        (b"ax", b"", []),
    ],
)
def test_a_start_is_a_whole_key_and_a_prefix_ends_the_iteration(
    db: MemoryDatabase, prefix: bytes, start: bytes, expected: list[bytes]
) -> None:
    assert keys(db, prefix=prefix, start=start) == expected


def test_an_iterator_sees_what_was_there_when_it_was_made(db: MemoryDatabase) -> None:
    iterator = db.iterate(prefix=b"a")
    db.put(b"aa", b"late")
    db.put(b"a", b"changed")
    db.delete(b"ab")
    assert list(iterator) == [(b"a", b"A"), (b"a\0", b"A\0"), (b"ab", b"AB")]


def test_an_iterator_reads_only_what_it_returns() -> None:
    class Counting(dict[bytes, bytes]):
        reads = 0

        def __getitem__(self, key: bytes) -> bytes:
            self.reads += 1
            return super().__getitem__(key)

    db = MemoryDatabase({b"%04d" % number: b"" for number in range(1_000)})
    db._content = content = Counting(db._content)
    with db.iterate() as pairs:
        assert next(pairs) == (b"0000", b"")
    assert content.reads == 1


@pytest.mark.parametrize("count", [10, 5_000])
def test_pairs_are_in_order_after_few_changes_and_after_many(count: int) -> None:
    expected = {b"%06d" % number: b"" for number in range(2_000)}
    db = MemoryDatabase(expected)
    for number in range(count):
        inserted, deleted = b"%06d" % (7_919 * number % 10_007), b"%06d" % (31 * number % 2_003)
        db.put(inserted, b"new")
        db.delete(deleted)
        expected[inserted] = b"new"
        expected.pop(deleted, None)
    assert list(db.iterate()) == sorted(expected.items())


def test_a_released_iterator_ends(db: MemoryDatabase) -> None:
    iterator = db.iterate()
    next(iterator)
    iterator.release()
    iterator.release()
    assert list(iterator) == []


def test_many_keys_are_answered_in_their_order_with_none_for_the_missing(db: MemoryDatabase) -> None:
    assert db.get_many([b"b", b"missing", b"a", b"b"]) == [b"B", None, b"A", b"B"]
    assert db.get_many(iter([])) == []


def test_the_first_content_is_copied() -> None:
    content = {b"a": b"1"}
    db = MemoryDatabase(content)
    content[b"b"] = b"2"
    assert list(db) == [b"a"]


def test_keys_of_any_bytes_like_type_are_equal(db: MemoryDatabase) -> None:
    assert db.get(bytearray(b"a")) == b"A"  # type: ignore[call-overload]
    assert bytearray(b"a") in db
    assert memoryview(b"a") in db
    with pytest.raises(TypeError):
        assert "a" in db


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda db: db.get(b"a"), id="get"),
        pytest.param(lambda db: db.get_many([]), id="get_many"),
        pytest.param(lambda db: db[b"a"], id="brackets"),
        pytest.param(lambda db: b"a" in db, id="in"),
        pytest.param(lambda db: db.put(b"a", b""), id="put"),
        pytest.param(lambda db: db.delete(b"a"), id="delete"),
        pytest.param(lambda db: db.batch().write(), id="write"),
        pytest.param(lambda db: db.iterate(), id="iterate"),
        pytest.param(list, id="keys"),
        pytest.param(lambda db: db.compact(), id="compact"),
        pytest.param(lambda db: db.health_check(), id="health_check"),
        pytest.param(lambda db: db.close(), id="close"),
    ],
)
def test_after_close_everything_raises_closed(db: MemoryDatabase, use: Callable[[Database], object]) -> None:
    db.close()
    with pytest.raises(Closed):
        use(db)


def test_an_open_database_is_healthy_and_can_be_compacted(db: MemoryDatabase) -> None:
    db.health_check()
    db.compact(b"a", b"b")
    assert list(db.iterate()) == list(CONTENT.items())


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads that take turns as often as Python lets them."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval_s)


@pytest.mark.usefixtures("eager_threads")
def test_a_batch_is_seen_by_other_threads_as_a_whole_or_not_at_all() -> None:
    keys = [b"%04d" % number for number in range(500)]
    db = MemoryDatabase(dict.fromkeys(keys, b"0"))
    stop = threading.Event()

    def write() -> None:
        for number in range(100):
            with db.batch() as batch:
                for key in keys:
                    batch.put(key, b"%d" % number)
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    torn = []
    while not stop.is_set():
        first, last = db.get_many([keys[0], keys[-1]])
        if first != last:
            torn.append((first, last))
    writer.join()
    assert torn == []
