"""What transactions may write: a limit for each block, and for all that wait."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import vmsdk
from tests.unit.chain.engine import Engine
from tests.unit.chain.step import Step
from vmsdk import chain
from vmsdk.chain.block import Block, Header

KIB = 1024
MIB = 1024 * 1024


class Heap(chain.Chain):
    """A transaction is a letter, what to write, and its length."""

    version = "1.0.0"

    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> bytes | None:
        place, length = tx[:1], int(tx[1:])
        if place == b"s":
            state[tx] = bytes(length)
        elif place == b"e":
            state.emit("heap", bytes(length))
        elif place == b"n":
            with state.nested() as inner:
                inner[tx] = bytes(length // 2)
                inner.emit("heap", bytes(length // 2))
        elif place == b"m":
            for number in range(length // KIB):
                state[tx + b"%d" % number] = bytes(KIB)
        else:
            state[tx] = b""
            return bytes(length)
        return None


class SmallHeap(Heap):
    limits = chain.Limits(written_bytes=10 * KIB, transaction_bytes=100, mempool_bytes=35 * KIB)


@pytest.mark.parametrize("place", [b"s", b"e", b"n", b"m", b"r"])
def test_a_transaction_that_writes_too_much_is_invalid(place: bytes) -> None:
    engine = Engine(Heap())
    message = r"at most 16777216 bytes of keys, values, events and results \(chain\.Limits\.written_bytes\)"
    with pytest.raises(chain.Invalid, match=message):
        engine.vm.submit(place + b"70000000")
    assert len(engine.vm.pool) == 0
    engine.vm.submit(place + b"1000000")
    engine.accept(engine.build())
    engine.stop()


def test_a_block_that_writes_too_much_is_invalid() -> None:
    engine = Engine(SmallHeap())
    generous = Engine(type("Generous", (Heap,), {})())
    generous.vm.submit(b"s11000")
    for raw in (generous.build().raw, _block(generous, [b"s6000", b"e6000"])):
        with pytest.raises(vmsdk.InvalidBlock, match=r"writes? (at most|more than) 10240 bytes"):
            engine.verify(raw)
    generous.stop()
    engine.stop()


def test_what_does_not_fit_in_one_block_is_in_the_next() -> None:
    engine = Engine(SmallHeap())
    for tx in (b"s6000", b"e6001", b"r6002"):
        engine.vm.submit(tx)
    found = []
    for _ in range(3):
        block = engine.build()
        found.append(block.block.transactions)
        engine.accept(block)
    assert found == [(b"s6000",), (b"e6001",), (b"r6002",)]
    assert not engine.vm.has_pending_work()
    engine.stop()


def test_what_waiting_transactions_write_is_bounded() -> None:
    engine = Engine(SmallHeap())
    for number in range(3):
        engine.vm.submit(b"s%d" % (10_000 + number))
    with pytest.raises(chain.MempoolFull, match=r"write 300\d\d bytes, and there is room for 35840"):
        engine.vm.submit(b"s9000")
    assert len(engine.vm.pool) == 3
    engine.accept(engine.build())
    engine.vm.submit(b"s9000")
    engine.stop()


def test_a_transaction_may_write_more_than_all_waiting_ones_take() -> None:
    class Narrow(Heap):
        limits = chain.Limits(transaction_bytes=1 * KIB, mempool_bytes=128 * KIB)

    engine = Engine(Narrow())
    engine.vm.submit(b"s200000")
    engine.accept(engine.build())
    engine.stop()


class Lanes(chain.Chain):
    """A step's fourth word is how many bytes it writes."""

    version = "1.0.0"
    transaction = Step
    limits = SmallHeap.limits

    def execute(self, state: chain.State, tx: Step, block: chain.Header) -> None:
        expected = state.get_int(tx.sender)
        if tx.sequence > expected:
            raise chain.NotYet("the sequence is too high", expected=expected)
        state.put_int(tx.sender, tx.sequence + 1)
        state[b"%s/%d" % (tx.sender, tx.sequence)] = bytes(int(tx.raw.split()[3]))


@pytest.fixture
def lanes() -> Iterator[Engine]:
    engine = Engine(Lanes())
    yield engine
    engine.stop()


def test_what_accepted_transactions_have_written_takes_no_room(lanes: Engine) -> None:
    lanes.vm.submit(b"b 1 1 9000")  # is parked, so the mempool never gets empty
    for number in range(9):
        lanes.vm.submit(b"a %d 1 9000" % number)
        lanes.produce()
    for number in range(3):
        lanes.vm.submit(b"c %d 1 9000" % number)
    assert len(lanes.vm.pool) == 4


def test_a_parked_transaction_has_the_room_that_accepted_ones_have_left(lanes: Engine) -> None:
    parked = lanes.vm.submit(b"b 1 1 9000")
    for number in range(3):
        lanes.vm.submit(b"a %d 1 9000" % number)
    for _ in range(3):
        lanes.produce()
    lanes.vm.submit(b"b 0 1 500")
    assert lanes.vm.dropped(parked) is None
    assert lanes.produce().block.transactions == (b"b 0 1 500", b"b 1 1 9000")


def test_what_accepted_transactions_have_written_is_not_kept(lanes: Engine) -> None:
    lanes.vm.submit(b"b 1 1 9000")
    for number in range(30):
        lanes.vm.submit(b"a %d 1 9000" % number)
        lanes.produce()
        kept = sum(len(value or b"") for value in lanes.vm._admission._top.writes.values())
        assert kept <= 2 * lanes.vm.limits.mempool_bytes + lanes.vm.limits.written_bytes


def test_a_higher_priority_has_the_room_of_lower_ones_to_write(lanes: Engine) -> None:
    parked = lanes.vm.submit(b"z 1 0 10000")
    cheap = [lanes.vm.submit(b"%c 0 1 10000" % letter) for letter in b"abc"]
    with pytest.raises(chain.MempoolFull, match=r"write 300\d\d bytes, and there is room for 35840"):
        lanes.vm.submit(b"d 0 1 9000")
    dear = lanes.vm.submit(b"d 0 2 9000")
    assert dear in lanes.vm.pool
    assert parked in lanes.vm.pool  # writes nothing yet
    assert [each in lanes.vm.pool for each in cheap] == [True, True, False]  # the last one to come
    assert str(lanes.vm.dropped(cheap[2])).startswith("evicted: the mempool is full")
    lanes.vm.submit(b"c 0 2 500")  # as nothing of it is left in the pending state
    assert lanes.produce().block.transactions[0] == b"d 0 2 9000"


def test_a_parked_transaction_has_the_room_of_lower_ones_once_its_turn_has_come(lanes: Engine) -> None:
    dear = lanes.vm.submit(b"d 1 3 9000")
    cheap = [lanes.vm.submit(b"%c 0 1 10000" % letter) for letter in b"abc"]
    lanes.vm.submit(b"d 0 3 500")
    assert dear in lanes.vm.pool
    assert [each in lanes.vm.pool for each in cheap] == [True, True, False]
    cheaper = lanes.vm.submit(b"e 1 0 9000")
    lanes.vm.submit(b"e 0 5 500")
    assert str(lanes.vm.dropped(cheaper)).startswith("evicted: the waiting transactions write")


def test_the_same_sender_is_not_evicted_for_what_comes_after_it(lanes: Engine) -> None:
    for number in range(3):
        lanes.vm.submit(b"a %d 1 10000" % number)
    with pytest.raises(chain.MempoolFull, match="there is room for 35840"):
        lanes.vm.submit(b"a 3 9 9000")
    assert len(lanes.vm.pool) == 3


def _block(engine: Engine, transactions: list[bytes]) -> bytes:
    """The bytes of a block that *engine* would build of *transactions*."""
    vm: Any = engine.vm
    parent = vm.last
    header = Header(parent.id, parent.height + 1, parent.timestamp)
    empty = Block(header, bytes(32), tuple(transactions))
    executed = vm._execution.block(vm.accepted, empty, transactions)
    return Block(header, executed.effects, tuple(transactions)).raw
