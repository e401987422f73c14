from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from tests.wire.failing import fail_next
from tests.wire.services.scripted_node import DEADLINE_S, Behaviour, ScriptedNode, answers, fails
from vmsdk._pb.rpcdb import rpcdb_pb2 as pb
from vmsdk._pb.rpcdb.rpcdb_grpc import Database
from vmsdk.database import DatabaseIterator
from vmsdk.errors import Closed, DatabaseFailed, NodeError
from vmsdk.host.services import NodeServices
from vmsdk.services.channel import connect
from vmsdk.services.database import DatabaseClient

PAIRS = [(b"a", b"1"), (b"b/", b"2"), (b"b/1", b"3"), (b"b/2", b""), (b"c", b"5")]
ITERATOR_ID = 7


class Pages:
    """Answers IteratorNext with one page of two pairs after the other, and keeps the protocol's one
    rule: one request at a time for each iterator.
    """

    def __init__(self, count: int) -> None:
        self._rest = [
            pb.IteratorNextResponse(
                data=[pb.PutRequest(key=b"%d%d" % (page, pair), value=b"v") for pair in range(2)]
            )
            for page in range(count)
        ]
        self.keys = [pair.key for page in self._rest for pair in page.data]
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.overlapped = False
        self._busy = threading.Lock()

    def next(self, request: pb.IteratorNextRequest, context: grpc.ServicerContext) -> Any:
        assert request.id == ITERATOR_ID
        with self._alone():
            self.may_answer.wait(DEADLINE_S)
            return self._rest.pop(0) if self._rest else pb.IteratorNextResponse()

    def release(self, request: pb.IteratorReleaseRequest, context: grpc.ServicerContext) -> Any:
        assert request.id == ITERATOR_ID
        with self._alone():
            return pb.IteratorReleaseResponse()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.overlapped |= not self._busy.acquire(blocking=False)
        yield
        self._busy.release()


@contextmanager
def serving(pages: Pages, **behaviours: Behaviour) -> Iterator[tuple[ScriptedNode, DatabaseClient]]:
    """A database with one iterator over *pages*; other methods as given, or empty answers."""
    methods: dict[Any, Behaviour] = {method: answers(b"") for method in Database.methods.values()}
    created = pb.NewIteratorWithStartAndPrefixResponse(id=ITERATOR_ID)
    methods[Database.NewIteratorWithStartAndPrefix] = answers(created)
    methods[Database.IteratorNext] = pages.next
    methods[Database.IteratorRelease] = pages.release
    methods.update({Database.methods[name]: behaviour for name, behaviour in behaviours.items()})
    with ScriptedNode(methods) as node, connect(node.address) as channel:
        yield node, DatabaseClient(channel)


def fill(db: DatabaseClient) -> None:
    with db.batch() as batch:
        for key, value in reversed(PAIRS):
            batch.put(key, value)


# What it yields -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "start"),
    [
        (b"", b""),
        (b"b/", b""),
        (b"b/", b"b/1"),
        (b"b/", b"b/10"),
        (b"b/", b"a"),
        (b"b/", b"c"),
        (b"", b"b/15"),
        (b"", b"d"),
        (b"missing", b""),
    ],
)
def test_edge_73_pairs_ascend_from_the_start_within_the_prefix(
    db: DatabaseClient, prefix: bytes, start: bytes
) -> None:
    fill(db)
    expected = [(key, value) for key, value in PAIRS if key.startswith(prefix) and key >= start]
    assert list(db.iterate(prefix=prefix, start=start)) == expected


def test_the_database_iterates_over_its_keys(db: DatabaseClient) -> None:
    fill(db)
    assert list(db) == [key for key, _ in PAIRS]


def test_edge_72_more_than_128_kib_come_in_several_responses(
    services: NodeServices, db: DatabaseClient
) -> None:
    pairs = [(b"%02d" % number, bytes(50_000)) for number in range(10)]
    with db.batch() as batch:
        for key, value in pairs:
            batch.put(key, value)
    assert list(db.iterate()) == pairs
    # Three pairs reach 128 KiB: 3 + 3 + 3 + 1, and the empty one that ends it.
    assert services.database.calls["IteratorNext"] == 5


def test_edge_72_a_value_of_1_mib_is_a_response_of_its_own(
    services: NodeServices, db: DatabaseClient
) -> None:
    db.put(b"large", bytes(1 << 20))
    db.put(b"small", b"")
    assert [len(value) for _, value in db.iterate()] == [1 << 20, 0]
    assert services.database.calls["IteratorNext"] == 3


def test_edge_74_writes_after_its_creation_are_not_seen(db: DatabaseClient) -> None:
    fill(db)
    iterator = db.iterate()
    db.put(b"aa", b"too late")
    db.delete(b"c")
    assert list(iterator) == PAIRS


def test_two_iterators_do_not_disturb_each_other(db: DatabaseClient) -> None:
    fill(db)
    first, second = db.iterate(), db.iterate(prefix=b"b/")
    assert next(first) == PAIRS[0]
    assert list(second) == PAIRS[1:4]
    assert list(first) == PAIRS[1:]


def test_an_iterator_that_has_ended_stays_so(services: NodeServices, db: DatabaseClient) -> None:
    iterator = db.iterate()
    assert list(iterator) == []
    before = dict(services.database.calls)
    assert list(iterator) == []
    iterator.release()
    assert services.database.calls == before


# How it is fetched --------------------------------------------------------------------------------


def test_the_first_page_is_fetched_at_creation_and_each_further_one_ahead() -> None:
    pages = Pages(3)
    with serving(pages) as (node, db):
        iterator = db.iterate()
        node.wait_for_calls("IteratorNext", 1)
        assert next(iterator)[0] == pages.keys[0]
        node.wait_for_calls("IteratorNext", 2)
        rest = [key for key, _ in iterator]
        assert rest == pages.keys[1:]
        assert node.called.count("IteratorNext") == 4
    assert not pages.overlapped


def test_it_is_never_more_than_one_page_ahead() -> None:
    with serving(Pages(5)) as (node, db):
        iterator = db.iterate()
        next(iterator)
        node.wait_for_calls("IteratorNext", 2)
        next(iterator)
        for _ in range(50):  # time enough for a third request, were there one
            db.get(b"k")
        assert node.called.count("IteratorNext") == 2


# How it is released -------------------------------------------------------------------------------


def exhaust(iterator: DatabaseIterator) -> None:
    for _ in iterator:
        pass


def leave_its_block(iterator: DatabaseIterator) -> None:
    with iterator as pairs:
        next(pairs)


def leave_its_block_by_an_exception(iterator: DatabaseIterator) -> None:
    try:
        with iterator as pairs:
            next(pairs)
            raise ArithmeticError
    except ArithmeticError:
        pass


def release(iterator: DatabaseIterator) -> None:
    next(iterator)
    iterator.release()


def release_unread(iterator: DatabaseIterator) -> None:
    iterator.release()


def release_twice(iterator: DatabaseIterator) -> None:
    iterator.release()
    iterator.release()


def drop(iterator: DatabaseIterator) -> None:
    next(iterator)


def drop_in_a_cycle(iterator: DatabaseIterator) -> None:
    next(iterator)
    cycle: list[object] = [iterator]
    cycle.append(cycle)


@pytest.mark.parametrize(
    "way",
    [
        exhaust,
        leave_its_block,
        leave_its_block_by_an_exception,
        release,
        release_unread,
        release_twice,
        drop,
        drop_in_a_cycle,
    ],
)
def test_edge_75_it_is_released_once_however_it_ends(way: Callable[[DatabaseIterator], None]) -> None:
    pages = Pages(4)
    with serving(pages) as (node, db):
        way(db.iterate())
        gc.collect()
        node.wait_for_calls("IteratorRelease")
        db.close()  # waits for all releases
        assert node.called.count("IteratorRelease") == 1
    assert not pages.overlapped


def test_a_released_iterator_ends(db: DatabaseClient) -> None:
    fill(db)
    iterator = db.iterate()
    next(iterator)
    iterator.release()
    assert list(iterator) == []


def test_it_is_released_only_after_the_page_that_is_on_its_way() -> None:
    pages = Pages(4)
    with serving(pages) as (node, db):
        iterator = db.iterate()
        next(iterator)
        node.wait_for_calls("IteratorNext", 2)
        pages.may_answer.clear()
        next(iterator)
        next(iterator)
        node.wait_for_calls("IteratorNext", 3)
        iterator.release()
        for _ in range(50):  # time enough for a release, were it not to wait
            db.get(b"k")
        pages.may_answer.set()
        node.wait_for_calls("IteratorRelease")
    assert not pages.overlapped


def test_close_releases_all_iterators_first(services: NodeServices, db: DatabaseClient) -> None:
    fill(db)
    iterators = [db.iterate() for _ in range(3)]
    assert services.database.open_iterators == 3
    db.close()
    assert services.database.open_iterators == 0
    del iterators


# Errors -------------------------------------------------------------------------------------------


def test_edge_75_a_request_for_an_unknown_iterator_fails(services: NodeServices, db: DatabaseClient) -> None:
    fill(db)
    iterator = db.iterate()
    services.database.release_iterators()
    with pytest.raises(NodeError, match=r"^unknown iterator$"):
        exhaust(iterator)


def test_edge_76_next_after_close_raises_closed_also_in_the_middle_of_a_page(db: DatabaseClient) -> None:
    fill(db)
    iterator = db.iterate()
    next(iterator)
    db.close()
    for _ in range(2):
        with pytest.raises(Closed):
            next(iterator)


def test_edge_76_a_node_that_closed_the_database_does_not_look_like_the_end() -> None:
    closed = answers(pb.IteratorReleaseResponse(err=pb.ERROR_CLOSED))
    with serving(Pages(1), IteratorRelease=closed) as (_, db):
        iterator = db.iterate()
        next(iterator)
        next(iterator)
        for _ in range(2):
            with pytest.raises(Closed):
                next(iterator)


def test_the_iterators_error_at_the_node_does_not_look_like_the_end() -> None:
    with serving(Pages(1), IteratorRelease=fails(grpc.StatusCode.UNKNOWN, "bad block on disk")) as (node, db):
        iterator = db.iterate()
        next(iterator)
        next(iterator)
        with pytest.raises(NodeError, match=r"^bad block on disk$"):
            next(iterator)
        with pytest.raises(DatabaseFailed, match="bad block on disk"):
            next(iterator)
        db.close()
        assert node.called.count("IteratorRelease") == 1


def test_a_failing_page_is_raised_once_and_the_iterator_is_released() -> None:
    with serving(Pages(0), IteratorNext=fails(grpc.StatusCode.UNKNOWN, "bad disk")) as (node, db):
        iterator = db.iterate()
        with pytest.raises(NodeError, match=r"^bad disk$"):
            next(iterator)
        with pytest.raises(DatabaseFailed):
            next(iterator)
        node.wait_for_calls("IteratorRelease")


def test_edge_77_a_failed_database_stops_iterators_in_the_middle_of_a_page() -> None:
    with serving(Pages(1), Put=fails(grpc.StatusCode.UNKNOWN, "disk full")) as (_, db):
        iterator = db.iterate()
        next(iterator)
        with pytest.raises(NodeError):
            db.put(b"k", b"v")
        with pytest.raises(DatabaseFailed):
            next(iterator)


def test_an_iterator_that_can_not_be_created_raises_at_once(
    services: NodeServices, db: DatabaseClient
) -> None:
    fail_next(services.database, "NewIteratorWithStartAndPrefix", "no memory")
    with pytest.raises(NodeError, match=r"^no memory$"):
        db.iterate()
    with pytest.raises(DatabaseFailed):
        db.iterate()


def test_a_node_that_stops_ends_an_iterator_that_waits_for_its_page() -> None:
    pages = Pages(1)
    pages.may_answer.clear()
    with serving(pages) as (node, db):
        iterator = db.iterate()
        node.wait_for_calls("IteratorNext")
        node.stop()
        with pytest.raises(NodeError) as caught:
            next(iterator)
        assert caught.value.code == "UNAVAILABLE"
        pages.may_answer.set()
