"""A chain from one method: what its author and its clients rely on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

import vmsdk
from vmsdk import chain
from vmsdk.database import Batch, Database
from vmsdk.memorydb import MemoryDatabase

from .engine import Engine


class GuestBook(chain.Chain):
    """Entries of 1 to 140 bytes, numbered."""

    limits = chain.Limits(mempool_transactions=100)

    def genesis(self, state: chain.State, data: bytes) -> None:
        state[b"first"] = data

    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> bytes:
        if not 1 <= len(tx) <= 140:
            raise chain.Invalid("an entry has 1 to 140 bytes", length=len(tx))
        number = state.get_int(b"count")
        state[b"entry/" + number.to_bytes(8, "big")] = tx
        state.put_int(b"count", number + 1)
        state.emit("entry", tx)
        return number.to_bytes(8, "big")


def entries(vm: GuestBook) -> list[bytes]:
    with vm.snapshot() as state:
        return [value for _, value in state.scan(b"entry/")]


@pytest.fixture
def engine() -> Iterator[Engine]:
    started = Engine(GuestBook())
    yield started
    started.stop()


def test_a_submitted_transaction_is_in_the_next_block(engine: Engine) -> None:
    transaction_id = engine.vm.submit(b"hello")
    assert engine.vm.has_pending_work()
    block = engine.produce()
    assert block.block.transactions == (b"hello",)
    assert entries(engine.vm) == [b"hello"]
    receipt = engine.vm.receipt(transaction_id)
    assert (receipt.height, receipt.index, receipt.result) == (1, 0, bytes(8))
    assert receipt.events == (chain.Event(b"entry", b"hello"),)
    assert not engine.vm.has_pending_work()
    with pytest.raises(vmsdk.NothingToBuild):
        engine.vm.build_block()


def test_several_are_submitted_at_once_and_each_has_its_own_result(engine: Engine) -> None:
    texts = [b"entry %d" % number for number in range(50)]
    results = engine.vm.submit_many([b"", *texts, b"entry 7", b"x" * 141])
    assert [str(each) for each in (results[0], results[-1])] == [
        "an entry has 1 to 140 bytes (length=0)",
        "an entry has 1 to 140 bytes (length=141)",
    ]
    assert results[1:-1] == [vmsdk.ID.of(text) for text in (*texts, b"entry 7")]
    assert engine.produce().block.transactions == tuple(texts)


def test_those_before_a_bug_in_the_rules_wait_and_the_node_hears_of_them() -> None:
    engine = Engine(Fragile())
    with pytest.raises(KeyError):
        engine.vm.submit_many([b"good", b"bug", b"not reached"])
    assert engine.notified
    assert engine.produce().block.transactions == (b"good",)
    engine.stop()


def test_an_invalid_transaction_is_refused_with_its_details(engine: Engine) -> None:
    with pytest.raises(chain.Invalid, match=r"an entry has 1 to 140 bytes \(length=141\)"):
        engine.vm.submit(b"x" * 141)
    assert not engine.vm.has_pending_work()


def test_genesis_fills_the_state_and_is_block_0(engine: Engine) -> None:
    with engine.vm.snapshot() as state:
        assert state[b"first"] == b"genesis"
    assert engine.last.height == 0
    assert engine.vm.get_block_id_at_height(0) == engine.last.id


def test_a_restart_finds_the_chain_where_it_was(engine: Engine) -> None:
    engine.vm.submit(b"one")
    last = engine.produce()
    again = Engine(GuestBook(), engine.database)
    assert again.last.id == last.id
    assert entries(again.vm) == [b"one"]
    again.vm.submit(b"two")
    again.produce()
    assert entries(again.vm) == [b"one", b"two"]
    again.stop()


def test_another_genesis_is_refused(engine: Engine) -> None:
    with pytest.raises(vmsdk.VMError, match="a different genesis from these"):
        Engine(GuestBook(), engine.database, genesis=b"other")


def test_a_block_of_a_peer_is_executed_from_its_bytes(engine: Engine) -> None:
    other = Engine(GuestBook())
    other.vm.submit(b"from afar")
    block = other.build()
    other.stop()
    engine.accept(engine.verify(block.raw))
    assert entries(engine.vm) == [b"from afar"]


def test_siblings_have_states_of_their_own(engine: Engine) -> None:
    other = Engine(GuestBook())
    engine.vm.submit(b"mine")
    mine = engine.build()
    other.vm.submit(b"theirs")
    theirs = engine.verify(other.build().raw)
    engine.prefer(theirs)
    # The transaction of the other branch waits again, on top of the preferred one.
    assert engine.vm.has_pending_work()
    child = engine.build()
    assert child.block.transactions == (b"mine",)
    assert engine.accept(theirs) == [mine]
    # The accepted state is below the child now, so that the parent's changes can be freed.
    assert child.executed.state.parent is engine.vm.accepted
    engine.accept(child)
    assert entries(engine.vm) == [b"theirs", b"mine"]
    other.stop()


def test_transactions_of_a_rejected_block_of_a_peer_come_back(engine: Engine) -> None:
    first, second = Engine(GuestBook()), Engine(GuestBook())
    first.vm.submit(b"first")
    second.vm.submit(b"second")
    lost, kept = engine.verify(first.build().raw), engine.verify(second.build().raw)
    engine.accept(kept)
    assert lost.executed is None
    engine.vm._worker.submit(lambda: None).result()
    assert engine.vm.has_pending_work()
    engine.produce()
    assert entries(engine.vm) == [b"second", b"first"]
    first.stop()
    second.stop()


class Fragile(GuestBook):
    """Fails for one entry, unless it is the first."""

    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> bytes:
        if tx == b"bug" and state.get_int(b"count"):
            raise KeyError(tx)
        return super().execute(state, tx, block)


def test_a_bug_in_the_rules_does_not_keep_the_others_of_a_rejected_block_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine, first, second = Engine(Fragile()), Engine(Fragile()), Engine(Fragile())
    first.vm.submit_many([b"bug", b"good"])
    second.vm.submit(b"second")
    engine.verify(first.build().raw)
    engine.accept(engine.verify(second.build().raw))
    engine.vm._worker.submit(lambda: None).result()
    assert "the rules failed for a transaction of a rejected block" in caplog.text
    engine.produce()
    assert entries(engine.vm) == [b"second", b"good"]
    for each in (engine, first, second):
        each.stop()


class Recording(MemoryDatabase):
    """Counts the bytes that are read together."""

    read = 0

    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        found = super().get_many(keys)
        self.read += sum(len(each or b"") for each in found)
        return found


def test_undecided_ancestors_keep_to_the_limits_as_well() -> None:
    engine = Engine(Large())
    raws = []
    for number in range(4):
        engine.vm.submit(bytes([number]) * 50_000)
        block = engine.build()
        engine.prefer(block)
        raws.append(block.raw)
    for size, count in ((1, 1), (60_000, 1), (110_000, 2), (210_000, 5)):
        found = engine.vm.get_ancestors(block.id, 100, size, 10.0)
        assert len(found) == count
        assert found[:4] == raws[: -count - 1 : -1]
    assert engine.vm.get_ancestors(block.id, 100, 210_000, -1.0) == raws[-1:]
    engine.stop()


def test_ancestors_of_large_blocks_are_not_read_in_vain() -> None:
    database = Recording()
    engine = Engine(Large(), database)
    raws = []
    for number in range(12):
        engine.vm.submit(bytes([number]) * 50_000)
        raws.append(engine.produce().raw)
    database.read = 0
    assert engine.vm.get_ancestors(engine.last.id, 100, 160_000, 10.0) == raws[:-4:-1]
    assert database.read < 5 * 50_000
    assert len(engine.vm.get_ancestors(engine.last.id, 100, 1 << 30, 10.0)) == 13
    engine.stop()


class Large(chain.Chain):
    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> None:
        state.put_int(b"length", len(tx))


def test_work_is_what_no_ancestor_of_the_preferred_block_holds(engine: Engine) -> None:
    engine.vm.submit(b"one")
    block = engine.build()
    assert engine.vm.has_pending_work()  # on the last accepted block, which is still preferred
    engine.prefer(block)
    assert not engine.vm.has_pending_work()
    engine.vm.submit(b"two")
    assert engine.vm.has_pending_work()
    assert engine.build().block.transactions == (b"two",)


def test_one_block_is_one_write_and_no_read(engine: Engine) -> None:
    engine.vm.submit(b"warm up")
    engine.produce()
    counting = Counting(engine.database)
    engine.vm.accepted._database = engine.vm.history._database = counting
    engine.vm.submit(b"counted")
    engine.produce()
    assert counting.calls == ["batch"]


class Counting:
    """Records the calls to a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self._database, name)


def test_nondeterminism_is_found_at_its_block(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    class Clock(GuestBook):
        ticks = 0

        def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> bytes:
            Clock.ticks += 1
            state[b"time"] = str(Clock.ticks).encode()
            return super().execute(state, tx, block)

    builder, verifier = Engine(Clock()), Engine(Clock())
    builder.vm.submit(b"entry")
    block = builder.build()
    with (
        caplog.at_level(logging.ERROR, "vmsdk.chain"),
        pytest.raises(vmsdk.InvalidBlock, match="nondeterminism"),
    ):
        verifier.verify(block.raw)
    assert f"nondeterminism: block {block.id} at height 1" in caplog.text
    builder.stop()
    verifier.stop()


@pytest.mark.parametrize("error", [RuntimeError("the index is broken"), SystemExit(1), GeneratorExit()])
def test_an_exception_of_on_accept_does_not_stop_the_chain(
    engine: Engine, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    def fail(block: chain.Block) -> None:
        raise error

    engine.vm.on_accept = fail
    engine.vm.submit(b"one")
    engine.produce()
    engine.vm.submit(b"two")
    engine.produce()
    assert entries(engine.vm) == [b"one", b"two"]
    assert "the chain continues" in caplog.text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"height": 5}, "height 5 does not follow the parent's 0"),
        ({"timestamp": 1 << 47}, "in the future"),
        ({"p_chain_height": 7}, "P-chain height 7, but the node verifies it at None"),
    ],
)
def test_a_header_that_breaks_a_rule_is_refused(engine: Engine, change: dict[str, int], reason: str) -> None:
    engine.vm.submit(b"entry")
    good = engine.vm.build_block().block
    header = chain.Header(**{"parent_id": good.parent_id, "height": 1, "timestamp": good.timestamp, **change})
    with pytest.raises(vmsdk.InvalidBlock, match=reason):
        engine.verify(chain.Block(header, good.effects, good.transactions).raw)


def test_a_block_with_an_invalid_transaction_is_refused(engine: Engine) -> None:
    engine.vm.submit(b"entry")
    good = engine.vm.build_block().block
    for transactions, reason in (
        ((), "at least one transaction"),
        ((b"entry", b""), "transaction 1, .* is invalid: an entry has 1 to 140 bytes"),
        ((b"other",), "nondeterminism"),
    ):
        with pytest.raises(vmsdk.InvalidBlock, match=reason):
            engine.verify(chain.Block(good.header, good.effects, transactions).raw)
    engine.verify(good.raw)


def test_a_block_decodes_only_from_its_exact_bytes(engine: Engine) -> None:
    engine.vm.submit(b"entry")
    raw = engine.vm.build_block().raw
    assert chain.Block.from_bytes(raw).raw == raw
    for length in range(len(raw)):
        with pytest.raises(vmsdk.InvalidBlock):
            chain.Block.from_bytes(raw[:length])
    with pytest.raises(vmsdk.InvalidBlock):
        chain.Block.from_bytes(raw + b"\0")


def test_a_full_mempool_refuses(engine: Engine) -> None:
    for number in range(100):
        engine.vm.submit(b"%d" % number)
    with pytest.raises(chain.MempoolFull, match="100 transactions"):
        engine.vm.submit(b"one too many")
    engine.produce()
    engine.vm.submit(b"one too many")


def test_the_pending_state_has_what_waits(engine: Engine) -> None:
    engine.vm.submit(b"one")
    with engine.vm.snapshot(pending=True) as before:
        engine.vm.submit(b"two")
        engine.produce()
        assert before.get_int(b"count") == 1
        assert [value for _, value in before.scan(b"entry/")] == [b"one"]
        with pytest.raises(vmsdk.VMError, match="read-only"):
            before[b"x"] = b""
    with engine.vm.snapshot(pending=True) as after:
        assert after.get_int(b"count") == 2


def test_events_are_found_by_topic_and_height(engine: Engine) -> None:
    for text in (b"one", b"two", b"three"):
        engine.vm.submit(text)
        engine.produce()
    assert [each.event.data for each in engine.vm.events("entry", 2)] == [b"two", b"three"]
    assert [each.height for each in engine.vm.events("entry", 0, 3)] == [1, 2]
    assert engine.vm.events("other") == []


def test_a_result_that_is_not_bytes_is_an_error_that_names_the_method(engine: Engine) -> None:
    class Wrong(GuestBook):
        def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> Any:
            return False

    wrong = Engine(Wrong())
    with pytest.raises(TypeError, match=r"Wrong.execute returned False"):
        wrong.vm.submit(b"x")
    wrong.stop()


class Heights(GuestBook, vmsdk.BuildBlockWithContext):
    """Notes the height of the P-chain."""

    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> bytes:
        state[b"p"] = str(block.p_chain_height).encode()
        return super().execute(state, tx, block)


def test_a_chain_can_build_at_a_p_chain_height() -> None:
    engine = Engine(Heights())
    engine.vm.submit(b"one")
    raw = engine.vm.build_block_with_context(7).raw
    block = engine.vm.parse_block(raw)
    assert block.should_verify_with_context
    with pytest.raises(vmsdk.InvalidBlock, match="P-chain height 7"):
        block.verify_with_context(8)
    block.verify_with_context(7)
    engine.memory.remember_verified(block.id, block)
    engine.accept(block)
    with engine.vm.snapshot() as state:
        assert state[b"p"] == b"7"
    engine.vm.submit(b"two")
    assert not engine.build().should_verify_with_context
    engine.stop()


class Breaking(MemoryDatabase):
    """Fails at one batch."""

    fails = False

    def batch(self) -> Batch:
        if self.fails:
            self.fails = False
            raise OSError("the disk is full")
        return super().batch()


def test_nothing_goes_on_after_a_block_that_could_not_be_stored() -> None:
    database = Breaking()
    engine = Engine(GuestBook(), database)
    engine.vm.submit(b"one")
    block = engine.build()
    engine.vm.submit(b"two")
    database.fails = True
    with pytest.raises(OSError, match="the disk is full"):
        engine.accept(block)
    for call in (
        lambda: engine.vm.submit(b"three"),
        lambda: entries(engine.vm),
        engine.vm.build_block,
        engine.vm.health_check,
        lambda: engine.verify(chain.Block(block.block.header, bytes(32), (b"other",)).raw),
        lambda: engine.accept(block),
    ):
        with pytest.raises(vmsdk.VMError, match=r"the chain has stopped, because .*: the disk is full"):
            call()
    engine.stop()
    again = Engine(GuestBook(), database)
    assert again.last.height == 0
    again.accept(again.verify(block.raw))
    assert entries(again.vm) == [b"one"]
    again.stop()


def test_a_chain_that_has_ended_takes_no_transactions() -> None:
    engine = Engine(GuestBook())
    engine.stop()
    with pytest.raises(vmsdk.VMError, match="shutting down"):
        engine.vm.submit(b"late")


@pytest.mark.parametrize("limit", [-1, 0, 1 << 70])
def test_any_limit_is_taken_or_refused(engine: Engine, limit: int) -> None:
    with engine.vm.snapshot() as state:
        for read in (
            lambda: engine.vm.blocks(0, limit),
            lambda: list(state.scan(limit=limit)),
            lambda: list(chain.Overlay(state).scan(limit=limit)),
        ):
            if limit < 0:
                with pytest.raises(ValueError, match="limit is -1"):
                    read()
            else:
                assert len(read()) == min(limit, 1)


def test_a_build_that_has_taken_its_time_leaves_the_rest_to_the_next_block() -> None:
    executed: list[bytes] = []

    class Hasty(GuestBook):
        limits = chain.Limits(build_seconds=1e-9)

        def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> bytes:
            executed.append(tx)
            return super().execute(state, tx, block)

    engine = Engine(Hasty())
    for text in (b"one", b"two", b"three"):
        engine.vm.submit(text)
    executed.clear()
    engine.vm.build_block()
    assert executed == [b"one"]
    engine.stop()
