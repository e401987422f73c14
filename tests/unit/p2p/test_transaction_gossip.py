"""Gossip between the mempools of two chains, whose messages are delivered by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from vmsdk import chain
from vmsdk.context import Context
from vmsdk.ids import ID
from vmsdk.memorydb import MemoryDatabase
from vmsdk.nodeservices import NodeServices
from vmsdk.p2p.gossip import REGOSSIP_PERIOD_S
from vmsdk.rpc.blockmemory import BlockMemory
from vmsdk.state import State
from vmsdk.timestamp import Timestamp

from .nodes import OWN, VERSION, Clock, Node, node_id

PEER = node_id(1)


class Entries(chain.Chain):
    """Takes what does not start with `bad`."""

    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> None:
        if tx.startswith(b"bad"):
            raise chain.Invalid("bad")
        if tx.startswith(b"bug"):
            raise KeyError(tx)
        state[tx] = tx


@pytest.fixture
def node() -> Node:
    return Node({OWN: 1, PEER: 1})


@pytest.fixture
def vm(node: Node) -> Iterator[Entries]:
    vm = Entries()
    vm.ctx = Context(
        node_id=OWN,
        subnet_id=node.context().subnet_id,
        db=MemoryDatabase(),
        chain=BlockMemory(vm),
        services=cast(NodeServices, node),
    )
    vm.initialize(vm.ctx, b"genesis", b"", b"")
    yield vm
    vm.shutdown()


def push(*raws: bytes) -> bytes:
    """A push of short items: handler 0, then each as field 1."""
    return b"\0" + b"".join(b"\x0a" + bytes([len(raw)]) + raw for raw in raws)


def test_transactions_are_exchanged_from_normal_operation_on(vm: Entries, node: Node) -> None:
    vm.app_gossip(PEER, push(b"too early"))
    vm.set_state(State.NORMAL_OP)
    vm.connected(PEER, VERSION)
    vm.submit(b"submitted")
    assert node.gossiped.wait(60)
    assert node.gossip[0].message == push(b"submitted")
    vm.app_gossip(PEER, push(b"bad one", b"pushed", b"submitted"))
    assert [pending.raw for pending in vm.pool.all()] == [b"submitted", b"pushed"]
    assert [pending.source for pending in vm.pool.all()] == ["local", "peer"]


def test_a_peer_pulls_what_waits(vm: Entries) -> None:
    vm.set_state(State.NORMAL_OP)
    vm.submit(b"one")
    vm.submit(b"two")
    nothing = b"\x12\x20" + bytes(32) + b"\x1a\x0a\x01" + bytes(9)
    assert vm.app_request(PEER, 1, Timestamp(5), b"\0" + nothing) == push(b"one", b"two")[1:]


def test_an_accepted_transaction_is_not_taken_again(vm: Entries) -> None:
    vm.set_state(State.NORMAL_OP)
    vm.submit(b"one")
    vm._recent[ID.of(b"two")] = None
    assert vm.knows(ID.of(b"one"))
    vm.app_gossip(PEER, push(b"two"))
    assert [pending.raw for pending in vm.pool.all()] == [b"one"]


def test_an_accepted_transaction_is_not_pushed_again(vm: Entries, node: Node) -> None:
    gossip, clock = vm._gossip, Clock()
    gossip._clock = clock
    vm.connected(PEER, VERSION)
    for raw in (b"accepted", b"waits"):
        vm.submit(raw)
    gossip.step()
    vm.pool.remove(ID.of(b"accepted"), "accepted")
    vm._recent[ID.of(b"accepted")] = None
    clock.now += REGOSSIP_PERIOD_S
    gossip._next_pull = clock.now
    gossip.step()
    assert [sent.message for sent in node.gossip] == [push(b"accepted", b"waits"), push(b"waits")]


def test_a_bug_in_the_rules_costs_one_transaction_and_is_logged(
    vm: Entries, caplog: pytest.LogCaptureFixture
) -> None:
    vm.set_state(State.NORMAL_OP)
    vm.app_gossip(PEER, push(b"one", b"bug", b"two"))
    assert [pending.raw for pending in vm.pool.all()] == [b"one", b"two"]
    (record,) = caplog.records
    assert record.getMessage() == (
        "the rules failed for a transaction of 3 bytes from a peer, which is dropped"
    )
    assert record.exc_info is not None
