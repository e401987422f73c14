from __future__ import annotations

import pytest

from tests.wire.services.scripted_node import ScriptedNode, answers
from vmsdk._pb.sharedmemory import sharedmemory_pb2 as pb
from vmsdk._pb.sharedmemory.sharedmemory_grpc import SharedMemory as Methods
from vmsdk.errors import InvalidInput, NodeError
from vmsdk.host.services import NodeServices
from vmsdk.host.sharedmemory import Mailbox
from vmsdk.ids import ID
from vmsdk.memorydb import MemoryDatabase
from vmsdk.nodeservices import SharedElement, SharedMemory, SharedRequests
from vmsdk.services.channel import connect
from vmsdk.services.database import DatabaseClient
from vmsdk.services.node import NodeConnection
from vmsdk.services.sharedmemory import SharedMemoryClient


@pytest.fixture
def memory(connection: NodeConnection) -> SharedMemory:
    return connection.shared_memory


@pytest.fixture
def peer(services: NodeServices) -> ID:
    return services.config.x_chain_id


@pytest.fixture
def inbox(services: NodeServices, peer: ID) -> Mailbox:
    """Where the peer leaves values for this chain."""
    return services.shared_memory.inbox(peer)


def test_values_are_got_in_the_order_of_the_keys(memory: SharedMemory, peer: ID, inbox: Mailbox) -> None:
    inbox.put(b"a", b"1")
    inbox.put(b"b", b"")
    assert memory.get(peer, [b"b", b"a"]) == [b"", b"1"]
    assert memory.get(peer, []) == []


def test_edge_78_one_missing_key_fails_the_whole_call(memory: SharedMemory, peer: ID, inbox: Mailbox) -> None:
    inbox.put(b"a", b"1")
    inbox.put(b"c", b"3")
    with pytest.raises(NodeError, match=r"^not found$") as caught:
        memory.get(peer, [b"a", b"b", b"c"])
    assert caught.value.code == "UNKNOWN"


def test_edge_79_a_value_removed_before_it_was_put_never_appears(
    memory: SharedMemory, peer: ID, inbox: Mailbox
) -> None:
    memory.apply({peer: SharedRequests(removes=[b"key"])})
    with pytest.raises(NodeError, match=r"^duplicate remove: Key=0x6b6579$"):
        memory.apply({peer: SharedRequests(removes=[b"key"])})
    inbox.put(b"key", b"value")
    with pytest.raises(NodeError, match=r"^not found$"):
        memory.get(peer, [b"key"])


def test_edge_80_a_page_starts_with_the_last_value_of_the_page_before(
    memory: SharedMemory, peer: ID, inbox: Mailbox
) -> None:
    for number in (b"1", b"2", b"3"):
        inbox.put(b"key " + number, b"value " + number, [b"trait"])
    first = memory.indexed(peer, [b"trait"], limit=2)
    assert first.values == (b"value 3", b"value 2")
    second = memory.indexed(peer, [b"trait"], start_trait=first.last_trait, start_key=first.last_key, limit=2)
    assert second.values == (b"value 2", b"value 1")


def test_a_value_with_several_traits_is_found_once(memory: SharedMemory, peer: ID, inbox: Mailbox) -> None:
    inbox.put(b"key", b"value", [b"t1", b"t2"])
    assert memory.indexed(peer, iter([b"t1", b"t2"]), limit=10).values == (b"value",)
    assert memory.indexed(peer, [b"t1"], limit=0).values == ()


def test_apply_puts_for_the_peer_and_writes_batches(
    services: NodeServices, memory: SharedMemory, db: DatabaseClient, peer: ID
) -> None:
    batch = db.batch()
    batch.put(b"state", b"old")
    batch.put(b"state", b"new")
    batch.put(b"gone", b"x")
    batch.delete(b"gone")
    memory.apply({peer: SharedRequests(puts=[SharedElement(b"key", b"value", [b"trait"])])}, batch)
    outbox = services.shared_memory.outbox(peer)
    assert outbox.get(b"key") == b"value"
    assert outbox.indexed([b"trait"], b"", b"", 1)[0] == [b"value"]
    assert db.get_many([b"state", b"gone"]) == [b"new", None]


def test_a_batch_of_any_database_may_be_applied(memory: SharedMemory, db: DatabaseClient, peer: ID) -> None:
    batch = MemoryDatabase().batch()
    batch.put(b"state", b"new")
    memory.apply({}, batch)
    assert db.get(b"state") == b"new"


def test_edge_70_the_last_operation_on_each_key_of_a_batch_counts() -> None:
    with ScriptedNode({Methods.Apply: answers(pb.ApplyResponse())}) as node:
        with connect(node.address) as channel:
            batch = MemoryDatabase().batch()
            batch.put(b"k", b"1")
            batch.delete(b"j")
            batch.put(b"j", b"2")
            batch.delete(b"k")
            SharedMemoryClient(channel).apply({}, batch)
        assert node.requests_of(Methods.Apply) == [
            pb.ApplyRequest(
                batches=[
                    pb.Batch(puts=[pb.BatchPut(key=b"j", value=b"2")], deletes=[pb.BatchDelete(key=b"k")])
                ]
            )
        ]


def test_edge_81_a_request_that_fails_changes_neither_side(
    services: NodeServices, memory: SharedMemory, db: DatabaseClient, peer: ID
) -> None:
    element = SharedElement(b"key", b"value")
    memory.apply({peer: SharedRequests(puts=[element])})
    batch = db.batch()
    batch.put(b"state", b"new")
    fresh = SharedElement(b"fresh", b"value")
    with pytest.raises(NodeError, match=r"^duplicate put: Key=0x6b6579 Value=0x76616c7565$"):
        memory.apply({peer: SharedRequests(puts=[fresh, element])}, batch)
    assert db.get(b"state") is None
    memory.apply({peer: SharedRequests(puts=[fresh])})  # no duplicate: it was not put


def test_what_can_not_be_sent_is_refused_and_nothing_is_sent(
    services: NodeServices, memory: SharedMemory, peer: ID
) -> None:
    wrong: ID = bytes(33)  # type: ignore[assignment]
    for ask in (
        lambda: memory.get(wrong, [b"key"]),
        lambda: memory.indexed(wrong, [], limit=1),
        lambda: memory.apply({wrong: SharedRequests()}),
    ):
        with pytest.raises(InvalidInput):
            ask()
    with pytest.raises(InvalidInput, match="limit of a page"):
        memory.indexed(peer, [], limit=2**31)
    assert not services.shared_memory.calls


def test_another_number_of_values_than_keys_is_an_error_of_the_node() -> None:
    with (
        ScriptedNode({Methods.Get: answers(pb.GetResponse(values=[b"v"]))}) as node,
        connect(node.address) as channel,
        pytest.raises(NodeError, match="1 values for 2 keys"),
    ):
        SharedMemoryClient(channel).get(ID.EMPTY, [b"a", b"b"])
