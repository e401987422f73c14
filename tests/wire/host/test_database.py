"""The service `rpcdb.Database`, over the wire."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from tests.wire.failing import fail_next
from tests.wire.host.rawstub import RawStub, error_of
from vmsdk._pb.rpcdb import rpcdb_pb2 as pb
from vmsdk.host.services import NodeServices

UNKNOWN = grpc.StatusCode.UNKNOWN
PAGE_BYTES = 131_072


def put(db: RawStub, **values: bytes) -> None:
    for key, value in values.items():
        assert db.Put(pb.PutRequest(key=key.encode(), value=value)).err == 0


def get(db: RawStub, key: bytes) -> bytes | None:
    response = db.Get(pb.GetRequest(key=key))
    if response.err == pb.ERROR_NOT_FOUND:
        assert response.value == b""
        return None
    assert response.err == 0
    return bytes(response.value)


def iterate(db: RawStub, *, start: bytes = b"", prefix: bytes = b"") -> int:
    request = pb.NewIteratorWithStartAndPrefixRequest(start=start, prefix=prefix)
    return int(db.NewIteratorWithStartAndPrefix(request).id)


def next_page(db: RawStub, iterator: int) -> list[bytes]:
    return [pair.key for pair in db.IteratorNext(pb.IteratorNextRequest(id=iterator)).data]


def keys(db: RawStub, **bounds: bytes) -> list[bytes]:
    iterator = iterate(db, **bounds)
    found = []
    while page := next_page(db, iterator):
        found += page
    db.IteratorRelease(pb.IteratorReleaseRequest(id=iterator))
    return found


def test_a_value_is_read_back_and_overwritten(db: RawStub) -> None:
    put(db, key=b"one")
    put(db, key=b"two")
    assert get(db, b"key") == b"two"


def test_a_missing_key_is_an_enum_for_get_and_false_for_has(db: RawStub) -> None:
    assert get(db, b"missing") is None
    response = db.Has(pb.HasRequest(key=b"missing"))
    assert (response.has, response.err) == (False, 0)


def test_deleting_a_missing_key_succeeds(db: RawStub) -> None:
    assert db.Delete(pb.DeleteRequest(key=b"missing")).err == 0


def test_edge_69_an_empty_value_is_there_and_reads_back_empty(db: RawStub) -> None:
    put(db, key=b"")
    assert db.Has(pb.HasRequest(key=b"key")).has
    assert get(db, b"key") == b""


def test_edge_69_the_empty_key_works(db: RawStub) -> None:
    assert get(db, b"") is None
    db.Put(pb.PutRequest(key=b"", value=b"of nothing"))
    assert get(db, b"") == b"of nothing"
    assert keys(db) == [b""]


def test_edge_70_the_reduced_batch_of_the_go_client_gives_the_last_operation_of_each_key(db: RawStub) -> None:
    put(db, k=b"old")
    batch = pb.WriteBatchRequest(
        puts=[pb.PutRequest(key=b"j", value=b"3")], deletes=[pb.DeleteRequest(key=b"k")]
    )
    assert db.WriteBatch(batch).err == 0
    assert (get(db, b"j"), get(db, b"k")) == (b"3", None)


def test_edge_71_a_key_in_puts_and_deletes_ends_up_deleted(db: RawStub) -> None:
    batch = pb.WriteBatchRequest(
        puts=[pb.PutRequest(key=b"k", value=b"v")], deletes=[pb.DeleteRequest(key=b"k")]
    )
    assert db.WriteBatch(batch).err == 0
    assert get(db, b"k") is None


def test_of_two_puts_of_one_key_in_a_batch_the_last_one_wins(db: RawStub) -> None:
    puts = [pb.PutRequest(key=b"k", value=b"1"), pb.PutRequest(key=b"k", value=b"2")]
    db.WriteBatch(pb.WriteBatchRequest(puts=puts))
    assert get(db, b"k") == b"2"


def test_an_empty_batch_succeeds(db: RawStub) -> None:
    assert db.WriteBatch(pb.WriteBatchRequest()).err == 0


def test_edge_72_a_page_ends_with_the_pair_that_reaches_128_kib(db: RawStub) -> None:
    for number in range(5):
        db.Put(pb.PutRequest(key=b"%d" % number, value=bytes(PAGE_BYTES // 2 - 1)))
    iterator = iterate(db)
    assert next_page(db, iterator) == [b"0", b"1"]
    assert next_page(db, iterator) == [b"2", b"3"]
    assert next_page(db, iterator) == [b"4"]
    assert next_page(db, iterator) == []
    assert next_page(db, iterator) == []


def test_edge_72_a_pair_below_the_limit_by_one_byte_lets_another_in(db: RawStub) -> None:
    db.Put(pb.PutRequest(key=b"0", value=bytes(PAGE_BYTES - 2)))
    db.Put(pb.PutRequest(key=b"1", value=bytes(PAGE_BYTES)))
    db.Put(pb.PutRequest(key=b"2", value=b""))
    iterator = iterate(db)
    assert next_page(db, iterator) == [b"0", b"1"]
    assert next_page(db, iterator) == [b"2"]


def test_edge_72_one_value_of_1_mib_is_one_page(db: RawStub) -> None:
    db.Put(pb.PutRequest(key=b"large", value=bytes(1 << 20)))
    db.Put(pb.PutRequest(key=b"next", value=b""))
    iterator = iterate(db)
    assert next_page(db, iterator) == [b"large"]
    assert next_page(db, iterator) == [b"next"]
    assert next_page(db, iterator) == []


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({}, [b"a", b"b", b"b1", b"b3", b"c", b"\xff", b"\xff\xff"]),
        ({"prefix": b"b"}, [b"b", b"b1", b"b3"]),
        ({"prefix": b"b", "start": b"b1"}, [b"b1", b"b3"]),
        ({"prefix": b"b", "start": b"b2"}, [b"b3"]),
        ({"prefix": b"b", "start": b"a"}, [b"b", b"b1", b"b3"]),
        ({"prefix": b"b", "start": b"c"}, []),
        ({"start": b"b2"}, [b"b3", b"c", b"\xff", b"\xff\xff"]),
        ({"prefix": b"\xff"}, [b"\xff", b"\xff\xff"]),
        ({"prefix": b"missing"}, []),
    ],
)
def test_edge_73_an_iterator_gives_the_prefix_from_the_start_on(
    db: RawStub, bounds: dict[str, bytes], expected: list[bytes]
) -> None:
    for key in (b"b3", b"\xff\xff", b"a", b"c", b"b", b"\xff", b"b1"):
        db.Put(pb.PutRequest(key=key, value=key))
    assert keys(db, **bounds) == expected


def test_edge_74_an_iterator_does_not_see_later_writes(db: RawStub) -> None:
    put(db, a=b"1", c=b"3", e=b"5")
    iterator = iterate(db)
    put(db, b=b"new", c=b"changed")
    db.Delete(pb.DeleteRequest(key=b"e"))
    db.WriteBatch(pb.WriteBatchRequest(puts=[pb.PutRequest(key=b"f", value=b"new")]))
    data = db.IteratorNext(pb.IteratorNextRequest(id=iterator)).data
    assert [(pair.key, pair.value) for pair in data] == [(b"a", b"1"), (b"c", b"3"), (b"e", b"5")]
    assert keys(db) == [b"a", b"b", b"c", b"f"]


def test_edge_74_writes_between_two_pages_are_not_seen_either(db: RawStub) -> None:
    for key in (b"a", b"b", b"c"):
        db.Put(pb.PutRequest(key=key, value=bytes(PAGE_BYTES)))
    iterator = iterate(db)
    assert next_page(db, iterator) == [b"a"]
    db.Delete(pb.DeleteRequest(key=b"b"))
    db.Put(pb.PutRequest(key=b"b", value=b"again"))
    put(db, aa=b"before the rest", bb=b"between", d=b"after")
    pair = db.IteratorNext(pb.IteratorNextRequest(id=iterator)).data[0]
    assert (pair.key, pair.value) == (b"b", bytes(PAGE_BYTES))
    assert next_page(db, iterator) == [b"c"]
    assert next_page(db, iterator) == []


def test_edge_75_an_iterator_can_be_released_early_and_again(services: NodeServices, db: RawStub) -> None:
    put(db, a=b"1")
    iterator = iterate(db)
    assert services.database.open_iterators == 1
    for _ in range(2):
        assert db.IteratorRelease(pb.IteratorReleaseRequest(id=iterator)).err == 0
    assert services.database.open_iterators == 0
    assert error_of(db.IteratorNext, pb.IteratorNextRequest(id=iterator)) == (UNKNOWN, "unknown iterator")


def test_edge_75_an_unknown_iterator_is_an_error_except_for_release(db: RawStub) -> None:
    assert error_of(db.IteratorNext, pb.IteratorNextRequest(id=99)) == (UNKNOWN, "unknown iterator")
    assert error_of(db.IteratorError, pb.IteratorErrorRequest(id=99)) == (UNKNOWN, "unknown iterator")
    assert db.IteratorRelease(pb.IteratorReleaseRequest(id=99)).err == 0


def test_iterators_are_numbered_from_0_and_independent(db: RawStub) -> None:
    put(db, a=b"1")
    first, second = iterate(db), iterate(db)
    assert (first, second) == (0, 1)
    assert next_page(db, first) == next_page(db, second) == [b"a"]
    assert db.IteratorError(pb.IteratorErrorRequest(id=first)).err == 0


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Has", pb.HasRequest(key=b"k")),
        ("Get", pb.GetRequest(key=b"k")),
        ("Put", pb.PutRequest(key=b"k")),
        ("Delete", pb.DeleteRequest(key=b"k")),
        ("Compact", pb.CompactRequest()),
        ("WriteBatch", pb.WriteBatchRequest()),
        ("Close", pb.CloseRequest()),
    ],
)
def test_edge_76_after_close_every_operation_returns_closed(db: RawStub, method: str, request_: Any) -> None:
    assert db.Close(pb.CloseRequest()).err == 0
    assert getattr(db, method)(request_).err == pb.ERROR_CLOSED


def test_edge_76_after_close_iterators_end_with_closed(db: RawStub) -> None:
    put(db, a=b"1")
    old = iterate(db)
    db.Close(pb.CloseRequest())
    for iterator in (old, iterate(db)):
        assert next_page(db, iterator) == []
        assert db.IteratorError(pb.IteratorErrorRequest(id=iterator)).err == pb.ERROR_CLOSED
        assert db.IteratorRelease(pb.IteratorReleaseRequest(id=iterator)).err == pb.ERROR_CLOSED


def test_edge_76_after_close_the_health_check_fails(db: RawStub) -> None:
    assert db.HealthCheck(Empty()).details == b"null"
    db.Close(pb.CloseRequest())
    assert error_of(db.HealthCheck, Empty()) == (UNKNOWN, "closed")


def test_closing_closes_the_view_only(services: NodeServices, db: RawStub) -> None:
    put(db, a=b"1")
    db.Close(pb.CloseRequest())
    assert services.database.closed
    assert services.database.space.get(b"a") == b"1"


def test_compacting_any_range_succeeds(db: RawStub) -> None:
    assert db.Compact(pb.CompactRequest()).err == 0
    assert db.Compact(pb.CompactRequest(start=b"a", limit=b"b")).err == 0


def test_calls_are_counted_by_method(services: NodeServices, db: RawStub) -> None:
    put(db, a=b"1", b=b"2")
    get(db, b"a")
    assert services.database.calls == {"Put": 2, "Get": 1}


def test_an_injected_fault_fails_that_call_once_and_changes_nothing(
    services: NodeServices, db: RawStub
) -> None:
    fail_next(services.database, "Put", "disk on fire")
    assert error_of(db.Put, pb.PutRequest(key=b"k", value=b"v")) == (UNKNOWN, "disk on fire")
    assert get(db, b"k") is None
    put(db, k=b"v")
    assert get(db, b"k") == b"v"


def test_a_value_of_20_mib_passes_both_ways(db: RawStub) -> None:
    value = bytes(20 << 20)
    put(db, large=value)
    assert get(db, b"large") == value
