"""After the first failure of the database, nothing more is read or written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import pytest

from tests.wire.failing import fail_next
from tests.wire.services.scripted_node import Script, ScriptedNode, answers, fails
from vmsdk._pb.rpcdb.rpcdb_grpc import Database
from vmsdk.errors import DatabaseFailed, NodeError
from vmsdk.host.services import NodeServices
from vmsdk.nodeservices import SharedRequests
from vmsdk.services.channel import connect
from vmsdk.services.database import DatabaseClient
from vmsdk.services.node import NodeConnection

GUARDED: dict[str, Callable[[DatabaseClient], object]] = {
    "Has": lambda db: b"k" in db,
    "Get": lambda db: db.get(b"k"),
    "Put": lambda db: db.put(b"k", b"v"),
    "Delete": lambda db: db.delete(b"k"),
    "WriteBatch": lambda db: db.batch().write(),
}
PASSING: dict[str, Callable[[DatabaseClient], object]] = {
    "Compact": lambda db: db.compact(),
    "Close": lambda db: db.close(),
}
REFUSED: dict[str, Callable[[DatabaseClient], object]] = {
    **GUARDED,
    "get_many": lambda db: db.get_many([b"k"]),
    "iterate": lambda db: db.iterate(),
    "health_check": lambda db: db.health_check(),
}
TEXT = "closed to avoid possible corruption, init error: disk on fire"


@contextmanager
def database_failing_at(name: str, code: grpc.StatusCode) -> Iterator[tuple[ScriptedNode, DatabaseClient]]:
    methods = {method: answers(b"") for method in Database.methods.values()}
    methods[Database.methods[name]] = fails(code, "disk on fire")
    with ScriptedNode(methods) as node, connect(node.address) as channel:
        yield node, DatabaseClient(channel)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE])
@pytest.mark.parametrize("name", [*GUARDED, *PASSING])
def test_edge_77_the_failing_call_raises_the_nodes_error_and_all_later_ones_are_refused_unsent(
    name: str, code: grpc.StatusCode
) -> None:
    with database_failing_at(name, code) as (node, db):
        with pytest.raises(NodeError, match=r"^disk on fire$") as caught:
            (GUARDED | PASSING)[name](db)
        assert caught.value.code == code.name
        for refused in REFUSED.values():
            with pytest.raises(DatabaseFailed) as failed:
                refused(db)
            assert (str(failed.value), failed.value.first_error) == (TEXT, "disk on fire")
        assert node.called == [name]


def test_edge_77_get_many_counts_too() -> None:
    with database_failing_at("Get", grpc.StatusCode.UNKNOWN) as (_, db):
        with pytest.raises(NodeError, match=r"^disk on fire$"):
            db.get_many([b"a", b"b"])
        with pytest.raises(DatabaseFailed):
            db.put(b"k", b"v")


def test_edge_77_a_failing_page_of_an_iterator_counts_too() -> None:
    with database_failing_at("IteratorNext", grpc.StatusCode.UNKNOWN) as (_, db):
        with pytest.raises(NodeError, match=r"^disk on fire$"):
            next(db.iterate())
        with pytest.raises(DatabaseFailed):
            db.get(b"k")


def test_compact_and_close_still_reach_the_node() -> None:
    with database_failing_at("Put", grpc.StatusCode.UNKNOWN) as (node, db):
        with pytest.raises(NodeError):
            db.put(b"k", b"v")
        db.compact()
        db.close()
        assert node.called == ["Put", "Compact", "Close"]


def test_a_close_that_failed_may_be_repeated() -> None:
    with database_failing_at("Close", grpc.StatusCode.UNKNOWN) as (node, db):
        for _ in range(2):
            with pytest.raises(NodeError, match=r"^disk on fire$"):
                db.close()
        assert node.called == ["Close", "Close"]


def test_the_first_error_is_the_one_that_is_told() -> None:
    methods: Script = {
        Database.Put: fails(grpc.StatusCode.UNKNOWN, "disk on fire"),
        Database.Compact: fails(grpc.StatusCode.UNKNOWN, "disk in ashes"),
    }
    with ScriptedNode(methods) as node, connect(node.address) as channel:
        db = DatabaseClient(channel)
        with pytest.raises(NodeError, match=r"^disk on fire$"):
            db.put(b"k", b"v")
        with pytest.raises(NodeError, match=r"^disk in ashes$"):
            db.compact()
        with pytest.raises(DatabaseFailed) as failed:
            db.get(b"k")
    assert failed.value.first_error == "disk on fire"


def test_a_missing_key_is_not_a_failure(db: DatabaseClient) -> None:
    assert db.get(b"missing") is None
    assert db.get_many([b"missing"]) == [None]
    db.put(b"k", b"v")


def test_a_fault_of_the_real_service_stops_the_database(services: NodeServices, db: DatabaseClient) -> None:
    fail_next(services.database, "WriteBatch", "disk full")
    batch = db.batch()
    batch.put(b"k", b"v")
    with pytest.raises(NodeError, match=r"^disk full$"):
        batch.write()
    with pytest.raises(DatabaseFailed, match=r"init error: disk full$"):
        batch.write()
    assert services.database.calls["WriteBatch"] == 1
    assert services.database.space.get(b"k") is None


def test_shared_memory_writes_no_batch_of_a_failed_database(
    services: NodeServices, connection: NodeConnection
) -> None:
    fail_next(services.database, "Put", "disk full")
    with pytest.raises(NodeError):
        connection.database.put(b"k", b"v")
    batch = connection.database.batch()
    batch.put(b"k", b"v")
    with pytest.raises(DatabaseFailed):
        connection.shared_memory.apply({services.config.x_chain_id: SharedRequests()}, batch)
    assert services.shared_memory.calls["Apply"] == 0
