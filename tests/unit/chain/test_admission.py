"""Admission: each transaction runs on what is accepted and all that wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import vmsdk
from vmsdk import chain
from vmsdk.memorydb import MemoryDatabase

from .engine import Engine
from .step import Step


class Nonces(chain.Chain):
    transaction = Step
    limits = chain.Limits(mempool_transactions=40, mempool_seconds=1e9)

    def execute(self, state: chain.State, tx: Step, block: chain.Header) -> None:
        nonce = state.get_int(tx.sender)
        if tx.sequence > nonce:
            raise chain.NotYet("the nonce is too high", expected=nonce)
        if tx.sequence < nonce:
            raise chain.Invalid("the nonce is too low", expected=nonce)
        if tx.priority == 13:
            raise chain.Invalid("unlucky")
        state.put_int(tx.sender, nonce + 1)


@pytest.fixture
def engine() -> Iterator[Engine]:
    started = Engine(Nonces())
    yield started
    started.stop()


def transactions(block: object) -> list[bytes]:
    return list(block.block.transactions)  # type: ignore[attr-defined]


def next_nonce(engine: Engine, sender: bytes) -> int:
    with engine.vm.snapshot(pending=True) as state:
        return int(state.get_int(sender))


def test_a_nonce_counts_the_transactions_that_wait(engine: Engine) -> None:
    for number in range(3):
        engine.vm.submit(b"A %d 0" % number)
        assert next_nonce(engine, b"A") == number + 1
    with pytest.raises(chain.Invalid, match="too low"):
        engine.vm.submit(b"A -1 0")


def test_a_nonce_that_is_too_high_waits_for_the_ones_before(engine: Engine) -> None:
    for number in (3, 1, 2):
        engine.vm.submit(b"A %d 0" % number)
    assert not engine.vm.has_pending_work()
    assert next_nonce(engine, b"A") == 0
    engine.vm.submit(b"A 0 0")
    assert next_nonce(engine, b"A") == 4
    assert transactions(engine.produce()) == [b"A 0 0", b"A 1 0", b"A 2 0", b"A 3 0"]


def test_what_waits_for_earlier_ones_is_bounded_for_each_sender_and_for_all() -> None:
    limits = chain.Limits(mempool_transactions=40, mempool_per_sender=16)
    engine = Engine(type("Narrow", (Nonces,), {"limits": limits})())
    for number in range(1, 5):
        engine.vm.submit(b"A %d 0" % number)
    with pytest.raises(chain.MempoolFull, match="4 transactions of this sender wait for earlier ones"):
        engine.vm.submit(b"A 5 0")
    for number in range(1, 7):
        engine.vm.submit(b"%d 1 0" % number)
    with pytest.raises(chain.MempoolFull, match="too many transactions wait for earlier ones"):
        engine.vm.submit(b"B 1 0")
    engine.vm.submit(b"B 0 0")
    engine.vm.submit(b"A 0 0")
    engine.vm.submit(b"A 5 0")
    assert next_nonce(engine, b"A") == 6
    engine.stop()


def test_a_replacement_runs_in_the_place_of_the_other(engine: Engine) -> None:
    engine.vm.submit(b"A 0 1")
    engine.vm.submit(b"A 1 1")
    engine.vm.submit(b"A 0 2")
    assert next_nonce(engine, b"A") == 2
    assert transactions(engine.produce()) == [b"A 0 2", b"A 1 1"]


def test_a_block_from_elsewhere_lets_parked_ones_go_and_drops_what_it_made_invalid(engine: Engine) -> None:
    engine.vm.submit(b"A 1 0")
    engine.vm.submit(b"B 0 0")
    other = Engine(Nonces())
    other.vm.submit(b"A 0 0")
    other.vm.submit(b"B 0 9")
    engine.accept(engine.verify(other.build().raw))
    engine.vm._worker.submit(lambda: None).result()
    assert transactions(engine.produce()) == [b"A 1 0"]
    assert "too low" in (engine.vm.dropped(vmsdk.ID.of(b"B 0 0")) or "")
    other.stop()


def test_a_transaction_that_is_invalid_on_the_tip_is_not_work_until_the_tip_changes(engine: Engine) -> None:
    engine.vm.submit(b"A 0 0")
    other = Engine(Nonces())
    other.vm.submit(b"A 0 9")
    rival = engine.verify(other.build().raw)
    engine.prefer(rival)
    assert engine.vm.has_pending_work()
    with pytest.raises(vmsdk.NothingToBuild):
        engine.vm.build_block()
    assert not engine.vm.has_pending_work()
    assert len(engine.vm.pool) == 1
    other.stop()


def test_a_bug_in_the_rules_drops_one_transaction_and_is_logged(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.vm.submit(b"A 0 0")
    engine.vm.submit(b"B 0 0")
    execute = engine.vm.execute

    def broken(state: chain.State, tx: Step, block: chain.Header) -> None:
        if tx.sender == b"A":
            raise KeyError("A")
        execute(state, tx, block)

    engine.vm.execute = broken
    assert transactions(engine.produce()) == [b"B 0 0"]
    assert "a bug in the rules" in caplog.text
    assert not engine.vm.has_pending_work()


def test_clients_and_the_engine_go_on_side_by_side(engine: Engine) -> None:
    """Every transaction that was admitted is in exactly one block, whatever the threads do."""
    count = 200
    failures: list[BaseException] = []

    def submit(sender: bytes) -> None:
        try:
            number = 0
            while number < count:
                try:
                    engine.vm.submit(b"%s %d 0" % (sender, number))
                    number += 1
                except chain.MempoolFull:
                    room.wait()
                    room.clear()
                with engine.vm.snapshot(pending=True) as state:
                    assert state.get_int(sender) >= number
        except BaseException as error:  # noqa: BLE001 - reported by the test
            failures.append(error)

    room = threading.Event()
    threads = [threading.Thread(target=submit, args=(sender,)) for sender in (b"A", b"B", b"C")]
    for thread in threads:
        thread.start()
    included: list[bytes] = []
    while any(thread.is_alive() for thread in threads) or engine.vm.has_pending_work():
        if engine.vm.has_pending_work():
            included += transactions(engine.produce())
        room.set()
    assert not failures
    for sender in (b"A", b"B", b"C"):
        assert [raw for raw in included if raw.startswith(sender)] == [
            b"%s %d 0" % (sender, number) for number in range(count)
        ]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_sender_of_an_expired_transaction_can_send_it_again(engine: Engine) -> None:
    clock = engine.vm.pool._clock = Clock()
    engine.vm.pool._seconds = 60
    engine.vm.submit(b"A 0 0")
    clock.now = 30
    engine.vm.submit(b"B 0 0")
    engine.vm.submit(b"A 1 0")
    clock.now = 61
    assert next_nonce(engine, b"A") == 0
    engine.vm.submit(b"A 0 0")
    assert transactions(engine.produce()) == [b"B 0 0", b"A 0 0", b"A 1 0"]


def test_the_sender_of_an_evicted_transaction_can_send_another(engine: Engine) -> None:
    for number in range(40):
        engine.vm.submit(b"%d 0 1" % number)
    engine.vm.submit(b"rich 0 7")
    assert "evicted" in engine.vm.dropped(vmsdk.ID.of(b"39 0 1"))
    assert next_nonce(engine, b"39") == 0
    engine.vm.submit(b"39 0 2")
    assert "evicted" in engine.vm.dropped(vmsdk.ID.of(b"38 0 1"))


class Gated(MemoryDatabase):
    """Its writes wait until the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.writing = threading.Event(), threading.Event()
        self.gate.set()

    def _apply(self, operations: dict[bytes, bytes | None]) -> None:
        self.writing.set()
        assert self.gate.wait(60)
        super()._apply(operations)


def test_a_valid_transaction_does_not_wait_for_a_block_that_is_being_written() -> None:
    database = Gated()
    engine = Engine(Nonces(), database)
    engine.vm.submit(b"A 0 0")
    block = engine.build()
    database.gate.clear()
    database.writing.clear()
    accepting = threading.Thread(target=engine.accept, args=(block,))
    accepting.start()
    assert database.writing.wait(60)
    try:
        engine.vm.submit(b"A 1 0")
        assert accepting.is_alive()
    finally:
        database.gate.set()
        accepting.join()
    with pytest.raises(chain.Invalid, match="too low"):
        engine.vm.submit(b"A -1 0")
    assert transactions(engine.produce()) == [b"A 1 0"]
    engine.stop()


def test_a_gap_in_a_lane_costs_one_empty_build(engine: Engine) -> None:
    for number in range(20):
        engine.vm.submit(b"A %d 0" % number)
    engine.vm.pool.remove(vmsdk.ID.of(b"A 0 0"), "lost")
    with pytest.raises(vmsdk.NothingToBuild):
        engine.vm.build_block()
    assert not engine.vm.has_pending_work()


def test_a_pending_snapshot_can_not_be_written_by_nested_changes(engine: Engine) -> None:
    engine.vm.submit(b"A 0 0")
    with (
        engine.vm.snapshot(pending=True) as state,
        pytest.raises(vmsdk.VMError, match="read-only"),
        state.nested() as attempt,
    ):
        attempt[b"A"] = b"\x63"
    assert next_nonce(engine, b"A") == 1


def test_a_bug_that_a_parked_transaction_meets_is_not_reported_to_another_sender(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.vm.submit(b"A 1 0")
    execute = engine.vm.execute

    def broken(state: chain.State, tx: Step, block: chain.Header) -> None:
        execute(state, tx, block)
        if tx.sequence == 1:
            raise KeyError("A")

    engine.vm.execute = broken
    engine.vm.submit(b"A 0 0")
    assert engine.vm.has_pending_work()
    assert engine.vm.dropped(vmsdk.ID.of(b"A 1 0")) == "execute failed: a bug in the chain's rules"
    assert "KeyError" in caplog.text


def test_a_transaction_that_two_threads_bring_at_once_is_executed_once(engine: Engine) -> None:
    first, second = (engine.vm._decoded(b"A 0 0", "local") for _ in range(2))
    engine.vm._admission.admit(first)
    engine.vm._admission.admit(second)
    assert next_nonce(engine, b"A") == 1


@pytest.mark.parametrize("others", [[], [b"C 0 0"]])
def test_a_block_from_elsewhere_lets_go_what_was_parked_for_it(engine: Engine, others: list[bytes]) -> None:
    for raw in (b"A 1 0", b"A 2 0", *others):
        engine.vm.submit(raw)
    other = Engine(Nonces())
    other.vm.submit(b"A 0 0")
    engine.accept(engine.verify(other.build().raw))
    engine.vm._worker.submit(lambda: None).result()
    assert next_nonce(engine, b"A") == 3
    assert sorted(transactions(engine.produce())) == sorted([b"A 1 0", b"A 2 0", *others])
    other.stop()


def test_a_block_from_elsewhere_retries_the_parked_of_its_own_senders_only(engine: Engine) -> None:
    for sender in b"ABCDE":
        engine.vm.submit(b"%c 1 0" % sender)
    other = Engine(Nonces())
    for sender in b"AX":
        other.vm.submit(b"%c 0 0" % sender)
    block = engine.verify(other.build().raw)
    tried = []
    execute = engine.vm.execute

    def counted(state: chain.State, tx: Step, header: chain.Header) -> None:
        tried.append(tx.raw)
        execute(state, tx, header)

    engine.vm.execute = counted
    engine.accept(block)
    engine.vm._worker.submit(lambda: None).result()
    assert tried == [b"A 1 0"]
    other.stop()


def test_a_block_of_a_transaction_whose_sender_can_not_be_read_is_accepted(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.vm.submit(b"A 1 0")
    other = Engine(Nonces())
    other.vm.submit(b"B 0 0")
    block = engine.verify(other.build().raw)
    monkeypatch.setattr(Step, "sender", property(lambda self: 1 / 0))
    engine.accept(block)
    assert engine.vm.last.id == block.id
    other.stop()


class Market(Nonces):
    closed_at: int | None = None

    def begin(self, state: chain.State, block: chain.Header) -> None:
        if self.closed_at is not None:
            raise chain.Invalid("the market is closed", time=self.closed_at)


def refuse_at(engine: Engine, *times: int) -> None:
    with pytest.MonkeyPatch.context() as closed:
        for time in times:
            closed.setattr(Market, "closed_at", time)
            with pytest.raises(chain.Invalid, match=rf"the market is closed \(time={time}\)"):
                engine.vm.submit(b"bob %d 0" % time)


def test_a_begin_that_refuses_the_next_block_is_logged_once_until_one_succeeds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def lines() -> list[str]:
        return [message for message in caplog.messages if message.startswith("begin refuses")]

    engine = Engine(Market())
    refuse_at(engine, 1, 2, 2, 3)
    line = "begin refuses the next block, so no transaction is admitted: the market is closed (time=%d)"
    assert lines() == [line % 1]
    engine.vm.submit(b"alice 0 0")
    assert engine.produce().height == 1
    refuse_at(engine, 4, 5)
    assert lines() == [line % 1, line % 4]
    engine.stop()


def test_no_transaction_is_admitted_to_a_block_that_begin_refuses_later() -> None:
    engine = Engine(Market())
    engine.vm.submit(b"alice 0 0")
    engine.vm._admission.invalidate()  # so that all are run again
    refuse_at(engine, 1, 1)
    engine.vm.submit(b"bob 0 0")
    assert len(engine.produce().block.transactions) == 2
    engine.stop()
