from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from tests.wire.services.scripted_node import DEADLINE_S, Behaviour, ScriptedNode, answers, fails
from vmsdk._pb.rpcdb import rpcdb_pb2 as pb
from vmsdk._pb.rpcdb.rpcdb_grpc import Database
from vmsdk.database import Batch
from vmsdk.errors import Closed, NodeError, NotFound
from vmsdk.host.services import NodeServices
from vmsdk.ids import ID
from vmsdk.services.channel import connect
from vmsdk.services.database import GET_MANY_WINDOW, DatabaseClient


@contextmanager
def scripted(**behaviours: Behaviour) -> Iterator[tuple[ScriptedNode, DatabaseClient]]:
    """A database whose methods behave as given."""
    methods = {Database.methods[name]: behaviour for name, behaviour in behaviours.items()}
    with ScriptedNode(methods) as node, connect(node.address) as channel:
        yield node, DatabaseClient(channel)


# Single keys -------------------------------------------------------------------------------------


def test_what_is_put_is_got_until_it_is_deleted(db: DatabaseClient) -> None:
    db.put(b"key", b"value")
    assert (db.get(b"key"), b"key" in db) == (b"value", True)
    db.delete(b"key")
    assert (db.get(b"key"), b"key" in db) == (None, False)


def test_a_missing_key_gives_the_default_or_raises(db: DatabaseClient) -> None:
    assert db.get(b"missing", b"default") == b"default"
    with pytest.raises(NotFound, match="no key b'missing'"):
        db[b"missing"]


def test_deleting_a_missing_key_is_not_an_error(db: DatabaseClient) -> None:
    db.delete(b"missing")
    del db[b"missing"]


def test_edge_69_an_empty_value_is_a_value_and_the_empty_key_is_a_key(db: DatabaseClient) -> None:
    db.put(b"empty", b"")
    assert (db.get(b"empty"), b"empty" in db) == (b"", True)
    assert b"" not in db
    db.put(b"", b"value of the empty key")
    assert (db.get(b""), b"" in db) == (b"value of the empty key", True)


@pytest.mark.parametrize("key", [bytearray(b"key"), memoryview(b"-key-")[1:4]])
def test_any_bytes_like_object_is_a_key_and_a_value(db: DatabaseClient, key: bytes) -> None:
    db.put(key, key)
    assert db.get(b"key") == b"key"
    assert db.get_many([key]) == [b"key"]
    assert key in db


def test_an_id_is_a_key(db: DatabaseClient) -> None:
    db[ID.EMPTY] = ID.EMPTY
    assert db[bytes(32)] == bytes(32)


@pytest.mark.parametrize("key", [5, "key", None])
def test_anything_else_is_a_type_error_and_nothing_is_sent(
    services: NodeServices, db: DatabaseClient, key: bytes
) -> None:
    for operation in (
        lambda: db.get(key),
        lambda: db.put(key, b""),
        lambda: db.put(b"", key),
        lambda: db.delete(key),
        lambda: key in db,
        lambda: db.get_many([key]),
        lambda: db.iterate(prefix=key),
        lambda: db.compact(key),
    ):
        with pytest.raises(TypeError, match=f"^keys and values are bytes, and {key!r} is of type"):
            operation()
    assert not services.database.calls
    assert db.get(b"still usable") is None


def test_several_threads_may_use_it_at_once(db: DatabaseClient) -> None:
    def count_up(name: bytes) -> None:
        for number in range(50):
            db.put(name, b"%d" % number)
            assert db.get(name) == b"%d" % number

    threads = [threading.Thread(target=count_up, args=(b"%d" % name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert db.get_many(b"%d" % name for name in range(4)) == [b"49"] * 4


# Many keys ---------------------------------------------------------------------------------------


def test_get_many_keeps_the_order_and_marks_missing_keys(db: DatabaseClient) -> None:
    with db.batch() as batch:
        for number in range(3 * GET_MANY_WINDOW):
            batch.put(b"%d" % number, b"value %d" % number)
    numbers = [*range(3 * GET_MANY_WINDOW - 1, -1, -1), -1, 0, 0]
    values = db.get_many(b"%d" % number for number in numbers)
    assert values == [None if number < 0 else b"value %d" % number for number in numbers]


def test_get_many_of_nothing_asks_nothing(services: NodeServices, db: DatabaseClient) -> None:
    assert db.get_many([]) == []
    assert not services.database.calls


def test_the_reads_of_get_many_overlap() -> None:
    all_here = threading.Barrier(GET_MANY_WINDOW)

    def answer_once_all_are_here(request: pb.GetRequest, context: grpc.ServicerContext) -> pb.GetResponse:
        all_here.wait(DEADLINE_S)
        return pb.GetResponse(value=request.key)

    keys = [b"%d" % number for number in range(GET_MANY_WINDOW)]
    with scripted(Get=answer_once_all_are_here) as (_, db):
        assert db.get_many(keys) == keys


def test_get_many_has_a_bounded_number_of_reads_on_their_way() -> None:
    answered = 0
    lock = threading.Lock()

    def answer(request: pb.GetRequest, context: grpc.ServicerContext) -> pb.GetResponse:
        nonlocal answered
        with lock:
            answered += 1
        return pb.GetResponse()

    on_their_way = []

    def keys() -> Iterator[bytes]:
        for number in range(1000):
            on_their_way.append(number - answered)
            yield b"key"

    with scripted(Get=answer) as (_, db):
        assert db.get_many(keys()) == [b""] * 1000
    assert max(on_their_way) <= GET_MANY_WINDOW


def test_get_many_fails_with_the_first_failing_key_and_as_a_whole() -> None:
    def answer(request: pb.GetRequest, context: grpc.ServicerContext) -> pb.GetResponse:
        if request.key in (b"bad", b"worse"):
            context.abort(grpc.StatusCode.UNKNOWN, request.key.decode())
        return pb.GetResponse()

    with scripted(Get=answer) as (_, db), pytest.raises(NodeError, match=r"^bad$"):
        db.get_many([b"good", b"bad", b"worse"])


# Batches -----------------------------------------------------------------------------------------


def fill_as_in_edge_70(batch: Batch) -> None:
    batch.put(b"k", b"1")
    batch.put(b"k", b"2")
    batch.delete(b"j")
    batch.put(b"j", b"3")
    batch.delete(b"k")


def test_edge_70_the_last_operation_on_each_key_counts(db: DatabaseClient) -> None:
    db.put(b"k", b"0")
    batch = db.batch()
    fill_as_in_edge_70(batch)
    batch.write()
    assert (db.get(b"j"), b"k" in db) == (b"3", False)


def test_edge_70_and_71_each_key_is_sent_once_as_a_put_or_as_a_delete() -> None:
    with scripted(WriteBatch=answers(pb.WriteBatchResponse())) as (node, db):
        batch = db.batch()
        fill_as_in_edge_70(batch)
        batch.write()
        assert node.requests_of(Database.WriteBatch) == [
            pb.WriteBatchRequest(
                puts=[pb.PutRequest(key=b"j", value=b"3")], deletes=[pb.DeleteRequest(key=b"k")]
            )
        ]


def test_a_batch_writes_itself_at_the_end_of_its_block(services: NodeServices, db: DatabaseClient) -> None:
    with db.batch() as batch:
        batch[b"a"] = b"1"
        batch[b"b"] = b""
        assert db.get(b"a") is None
    assert db.get_many([b"a", b"b"]) == [b"1", b""]
    assert services.database.calls["WriteBatch"] == 1


def test_a_batch_whose_block_raises_writes_nothing(services: NodeServices, db: DatabaseClient) -> None:
    def fill_and_fail() -> None:
        with db.batch() as batch:
            batch.put(b"a", b"1")
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fill_and_fail()
    assert services.database.calls["WriteBatch"] == 0
    assert db.get(b"a") is None


def test_a_batch_that_was_cleared_can_be_filled_again(db: DatabaseClient) -> None:
    batch = db.batch()
    batch.put(b"a", b"1")
    batch.write()
    batch.clear()
    batch.put(b"b", b"2")
    db.delete(b"a")
    batch.write()
    assert db.get_many([b"a", b"b"]) == [None, b"2"]


# The database as a whole --------------------------------------------------------------------------


def test_compact_sends_its_range() -> None:
    with scripted(Compact=answers(pb.CompactResponse())) as (node, db):
        db.compact(b"from", b"to")
        db.compact()
        ranges = [(request.start, request.limit) for request in node.requests_of(Database.Compact)]
    assert ranges == [(b"from", b"to"), (b"", b"")]


def test_the_health_of_the_hosts_database_is_null(db: DatabaseClient) -> None:
    assert db.health_check() is None


def test_health_details_are_decoded() -> None:
    details = pb.HealthCheckResponse(details=b'{"disk": [1, true]}')
    with scripted(HealthCheck=answers(details)) as (_, db):
        assert db.health_check() == {"disk": [1, True]}


def test_health_details_that_are_not_json_are_the_nodes_error() -> None:
    with (
        scripted(HealthCheck=answers(pb.HealthCheckResponse(details=b"\xff"))) as (_, db),
        pytest.raises(NodeError, match="the details are not JSON"),
    ):
        db.health_check()


def test_an_unhealthy_database_is_an_error_and_stays_usable() -> None:
    with scripted(HealthCheck=fails(grpc.StatusCode.UNKNOWN, "disk full"), Get=answers(pb.GetResponse())) as (
        _,
        db,
    ):
        with pytest.raises(NodeError, match="disk full"):
            db.health_check()
        assert db.get(b"key") == b""


def test_edge_76_after_close_every_operation_raises_closed(
    services: NodeServices, db: DatabaseClient
) -> None:
    batch = db.batch()
    db.close()
    for operation in (
        lambda: db.get(b"k"),
        lambda: db[b"k"],
        lambda: b"k" in db,
        lambda: db.get_many([b"k"]),
        lambda: db.put(b"k", b"v"),
        lambda: db.delete(b"k"),
        batch.write,
        db.iterate,
        db.compact,
        db.health_check,
        db.close,
    ):
        with pytest.raises(Closed):
            operation()
    assert services.database.closed


@pytest.mark.parametrize("name", ["get", "get_many", "put", "delete", "has", "write", "compact", "close"])
def test_edge_76_a_node_that_closed_the_database_is_believed(name: str) -> None:
    closed = pb.ERROR_CLOSED
    with scripted(
        Get=answers(pb.GetResponse(err=closed)),
        Put=answers(pb.PutResponse(err=closed)),
        Delete=answers(pb.DeleteResponse(err=closed)),
        Has=answers(pb.HasResponse(err=closed)),
        WriteBatch=answers(pb.WriteBatchResponse(err=closed)),
        Compact=answers(pb.CompactResponse(err=closed)),
        Close=answers(pb.CloseResponse(err=closed)),
    ) as (_, db):
        operations = {
            "get": lambda: db.get(b"k"),
            "get_many": lambda: db.get_many([b"k"]),
            "put": lambda: db.put(b"k", b"v"),
            "delete": lambda: db.delete(b"k"),
            "has": lambda: b"k" in db,
            "write": lambda: db.batch().write(),
            "compact": db.compact,
            "close": db.close,
        }
        with pytest.raises(Closed):
            operations[name]()


def test_an_unknown_error_number_is_not_an_error() -> None:
    with scripted(Put=answers(b"\x08\x63"), Get=answers(b"\x0a\x01v\x10\x63")) as (_, db):  # err = 99
        db.put(b"k", b"v")
        assert db.get(b"k") == b"v"
