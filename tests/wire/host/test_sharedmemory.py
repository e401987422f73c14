"""The service `sharedmemory.SharedMemory`, over the wire, with a peer chain that the test plays."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from tests.wire.host.rawstub import RawStub, error_of
from vmsdk._pb._service import Service
from vmsdk._pb.rpcdb import rpcdb_pb2
from vmsdk._pb.sharedmemory import sharedmemory_pb2 as pb
from vmsdk._pb.sharedmemory.sharedmemory_grpc import SharedMemory
from vmsdk.errors import NotFound
from vmsdk.host.service import ServiceError
from vmsdk.host.services import NodeServices
from vmsdk.host.sharedmemory import shared_space_id
from vmsdk.ids import ID

UNKNOWN = grpc.StatusCode.UNKNOWN
PEER = ID(bytes(range(32)))
OTHER = ID(bytes(range(32, 64)))


@pytest.fixture
def memory(services: NodeServices, stub: Callable[[str, type[Service]], RawStub]) -> RawStub:
    return stub(services.address, SharedMemory)


def apply(
    *,
    removes: list[bytes] | None = None,
    puts: list[tuple[bytes, bytes]] | None = None,
    peer: bytes = PEER,
    batches: list[pb.Batch] | None = None,
) -> pb.ApplyRequest:
    elements = [pb.Element(key=key, value=value) for key, value in puts or []]
    request = pb.AtomicRequest(peer_chain_id=peer, remove_requests=removes or [], put_requests=elements)
    return pb.ApplyRequest(requests=[request], batches=batches or [])


def get(memory: RawStub, *keys: bytes) -> list[bytes]:
    return list(memory.Get(pb.GetRequest(peer_chain_id=PEER, keys=keys)).values)


def indexed(
    memory: RawStub, traits: list[bytes], limit: int, start: tuple[bytes, bytes] = (b"", b"")
) -> tuple[list[bytes], bytes, bytes]:
    response = memory.Indexed(
        pb.IndexedRequest(
            peer_chain_id=PEER, traits=traits, start_trait=start[0], start_key=start[1], limit=limit
        )
    )
    return list(response.values), response.last_trait, response.last_key


def test_the_shared_space_of_two_chains_has_the_id_of_the_test_vector() -> None:
    x = ID(bytes(range(1, 33)))
    expected = "6edacda688b3b3ae107008fd171003766518f977f3f275aebc845023e0ec5559"
    assert shared_space_id(ID.EMPTY, x).hex() == shared_space_id(x, ID.EMPTY).hex() == expected


def test_values_left_by_the_peer_come_in_the_order_of_the_keys(
    services: NodeServices, memory: RawStub
) -> None:
    inbox = services.shared_memory.inbox(PEER)
    inbox.put(b"a", b"1")
    inbox.put(b"b", b"")
    assert get(memory, b"b", b"a", b"b") == [b"", b"1", b""]
    assert get(memory) == []


def test_what_is_put_reaches_the_peer_and_not_oneself(services: NodeServices, memory: RawStub) -> None:
    memory.Apply(apply(puts=[(b"k", b"v")]))
    assert services.shared_memory.outbox(PEER).get(b"k") == b"v"
    assert error_of(memory.Get, pb.GetRequest(peer_chain_id=PEER, keys=[b"k"])) == (UNKNOWN, "not found")


def test_mailboxes_with_other_peers_are_apart(services: NodeServices, memory: RawStub) -> None:
    services.shared_memory.inbox(OTHER).put(b"k", b"other's")
    assert error_of(memory.Get, pb.GetRequest(peer_chain_id=PEER, keys=[b"k"])) == (UNKNOWN, "not found")


def test_edge_78_one_missing_key_of_three_fails_the_whole_call(
    services: NodeServices, memory: RawStub
) -> None:
    inbox = services.shared_memory.inbox(PEER)
    inbox.put(b"a", b"1")
    inbox.put(b"c", b"3")
    request = pb.GetRequest(peer_chain_id=PEER, keys=[b"a", b"b", b"c"])
    assert error_of(memory.Get, request) == (UNKNOWN, "not found")


def test_edge_79_a_value_removed_before_it_was_put_is_never_visible(
    services: NodeServices, memory: RawStub
) -> None:
    inbox = services.shared_memory.inbox(PEER)
    memory.Apply(apply(removes=[b"k"]))
    assert error_of(memory.Get, pb.GetRequest(peer_chain_id=PEER, keys=[b"k"])) == (UNKNOWN, "not found")
    inbox.put(b"k", b"too late", traits=[b"t"])
    assert error_of(memory.Get, pb.GetRequest(peer_chain_id=PEER, keys=[b"k"])) == (UNKNOWN, "not found")
    assert indexed(memory, [b"t"], 10)[0] == []


def test_edge_79_a_tombstone_cancels_against_one_put_only(services: NodeServices, memory: RawStub) -> None:
    inbox = services.shared_memory.inbox(PEER)
    memory.Apply(apply(removes=[b"k"]))
    inbox.put(b"k", b"first")
    inbox.put(b"k", b"second")
    assert get(memory, b"k") == [b"second"]


def test_edge_79_removing_twice_is_a_duplicate(memory: RawStub) -> None:
    memory.Apply(apply(removes=[b"\xab\x01"]))
    again = apply(removes=[b"\xab\x01"])
    assert error_of(memory.Apply, again) == (UNKNOWN, "duplicate remove: Key=0xab01")


def test_putting_an_existing_key_is_a_duplicate(memory: RawStub) -> None:
    memory.Apply(apply(puts=[(b"\x01", b"v")]))
    again = apply(puts=[(b"\x01", b"\xff")])
    assert error_of(memory.Apply, again) == (UNKNOWN, "duplicate put: Key=0x01 Value=0xff")


def test_a_removed_value_is_gone_from_its_traits_and_its_key_is_free_again(
    services: NodeServices, memory: RawStub
) -> None:
    inbox = services.shared_memory.inbox(PEER)
    inbox.put(b"k", b"v", traits=[b"t"])
    memory.Apply(apply(removes=[b"k"]))
    assert indexed(memory, [b"t"], 10)[0] == []
    inbox.put(b"k", b"new", traits=[b"t"])
    assert indexed(memory, [b"t"], 10)[0] == [b"new"]


def test_edge_80_the_second_page_starts_with_the_last_value_of_the_first(
    services: NodeServices, memory: RawStub
) -> None:
    inbox = services.shared_memory.inbox(PEER)
    for number in (1, 2, 3):
        inbox.put(b"k%d" % number, b"v%d" % number, traits=[b"t"])
    values, trait, key = indexed(memory, [b"t"], 2)
    assert (values, trait, key) == ([b"v3", b"v2"], b"t", b"k2")
    assert indexed(memory, [b"t"], 2, (trait, key)) == ([b"v2", b"v1"], b"t", b"k1")


def test_indexed_sorts_the_traits_and_gives_a_value_with_two_of_them_once(
    services: NodeServices, memory: RawStub
) -> None:
    inbox = services.shared_memory.inbox(PEER)
    inbox.put(b"both", b"both", traits=[b"a", b"b"])
    inbox.put(b"only b", b"only b", traits=[b"b"])
    inbox.put(b"only a", b"only a", traits=[b"a"])
    assert indexed(memory, [b"b", b"a"], 10) == ([b"only a", b"both", b"only b"], b"b", b"both")


def test_indexed_skips_traits_below_the_start_and_starts_later_ones_at_the_newest(
    services: NodeServices, memory: RawStub
) -> None:
    inbox = services.shared_memory.inbox(PEER)
    for trait in (b"a", b"b", b"c"):
        inbox.put(trait + b"1", trait + b"1", traits=[trait])
        inbox.put(trait + b"2", trait + b"2", traits=[trait])
    traits = [b"a", b"b", b"c"]
    assert indexed(memory, traits, 10, (b"b", b"b1"))[0] == [b"b1", b"c2", b"c1"]
    assert indexed(memory, traits, 10, (b"b", b"unknown"))[0] == [b"b2", b"b1", b"c2", b"c1"]


def test_the_start_key_counts_within_the_start_trait_only(services: NodeServices, memory: RawStub) -> None:
    inbox = services.shared_memory.inbox(PEER)
    inbox.put(b"old", b"old", traits=[b"b"])
    inbox.put(b"both", b"both", traits=[b"a", b"b"])
    inbox.put(b"new", b"new", traits=[b"b"])
    assert indexed(memory, [b"a", b"b"], 10, (b"a", b"both"))[0] == [b"both", b"new", b"old"]


def test_indexed_echoes_the_start_if_nothing_was_visited(memory: RawStub) -> None:
    assert indexed(memory, [], 10, (b"t", b"k")) == ([], b"t", b"k")
    assert indexed(memory, [b"a"], 10, (b"b", b"k")) == ([], b"b", b"k")


def test_indexed_with_limit_0_or_below_gives_nothing(services: NodeServices, memory: RawStub) -> None:
    services.shared_memory.inbox(PEER).put(b"k", b"v", traits=[b"t"])
    assert indexed(memory, [b"t"], 0)[0] == []
    assert indexed(memory, [b"t"], -1)[0] == []


def test_apply_writes_batches_to_the_chains_own_database(services: NodeServices, memory: RawStub) -> None:
    services.database.space.put(b"old", b"1")
    batch = pb.Batch(
        puts=[pb.BatchPut(key=b"new", value=b"2"), pb.BatchPut(key=b"old", value=b"3")],
        deletes=[pb.BatchDelete(key=b"old")],
    )
    memory.Apply(apply(puts=[(b"k", b"v")], batches=[batch]))
    assert services.database.space.items() == [(b"new", b"2")]


def test_a_repeated_peer_overwrites_its_earlier_requests(services: NodeServices, memory: RawStub) -> None:
    first = pb.AtomicRequest(peer_chain_id=PEER, put_requests=[pb.Element(key=b"a", value=b"1")])
    second = pb.AtomicRequest(peer_chain_id=PEER, put_requests=[pb.Element(key=b"b", value=b"2")])
    memory.Apply(pb.ApplyRequest(requests=[first, second]))
    outbox = services.shared_memory.outbox(PEER)
    assert outbox.get(b"b") == b"2"
    with pytest.raises(NotFound):
        outbox.get(b"a")


def test_edge_81_a_duplicate_in_the_second_request_undoes_the_first(
    services: NodeServices, memory: RawStub
) -> None:
    memory.Apply(apply(puts=[(b"taken", b"v")], peer=OTHER))
    request = pb.ApplyRequest(
        requests=[
            pb.AtomicRequest(peer_chain_id=PEER, put_requests=[pb.Element(key=b"k", value=b"v")]),
            pb.AtomicRequest(peer_chain_id=OTHER, put_requests=[pb.Element(key=b"taken", value=b"v")]),
        ],
        batches=[pb.Batch(puts=[pb.BatchPut(key=b"mine", value=b"v")])],
    )
    assert error_of(memory.Apply, request) == (UNKNOWN, "duplicate put: Key=0x74616b656e Value=0x76")
    assert services.database.space.items() == []
    with pytest.raises(NotFound):
        services.shared_memory.outbox(PEER).get(b"k")


def test_edge_81_a_batch_that_fails_undoes_the_requests(
    services: NodeServices, memory: RawStub, db: RawStub
) -> None:
    services.shared_memory.inbox(PEER).put(b"theirs", b"v")
    db.Close(rpcdb_pb2.CloseRequest())
    batch = pb.Batch(puts=[pb.BatchPut(key=b"mine", value=b"v")])
    request = apply(removes=[b"theirs", b"early"], puts=[(b"k", b"v")], batches=[batch])
    assert error_of(memory.Apply, request) == (UNKNOWN, "closed")
    assert get(memory, b"theirs") == [b"v"]
    services.shared_memory.inbox(PEER).remove(b"early")  # would be a duplicate had it been applied
    with pytest.raises(ServiceError, match="duplicate remove"):
        services.shared_memory.inbox(PEER).remove(b"early")
    with pytest.raises(NotFound):
        services.shared_memory.outbox(PEER).get(b"k")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_peer_id_of_the_wrong_length_is_an_error(memory: RawStub, length: int) -> None:
    expected = (UNKNOWN, f"invalid hash length: expected 32 bytes but got {length}")
    assert error_of(memory.Get, pb.GetRequest(peer_chain_id=bytes(length))) == expected
    assert error_of(memory.Indexed, pb.IndexedRequest(peer_chain_id=bytes(length))) == expected
    assert error_of(memory.Apply, apply(peer=bytes(length))) == expected
