"""The checks of transactions: each runs once, whoever needs it."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.unit.chain.engine import Engine
from tests.waiting import wait_until
from vmsdk import chain
from vmsdk.chain.checks import MIN_PER_THREAD, Checks
from vmsdk.errors import VMError
from vmsdk.ids import ID

DEADLINE_S = 60
THREADS = 8


class Counting(chain.Chain):
    version = "1.0.0"

    def __init__(self) -> None:
        super().__init__()
        self.checked: Counter[bytes] = Counter()

    def check(self, tx: bytes) -> None:
        self.checked[tx] += 1
        if tx.startswith(b"bad"):
            raise chain.Invalid("it is bad")

    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> None:
        state[tx] = b""


class Held:
    """A check that ends when it is let go, as each that checks signatures elsewhere."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.failure = failure
        self.calls = 0
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, transaction: Any) -> None:
        self.calls += 1
        self.begun.set()
        assert self.go.wait(DEADLINE_S)
        if self.failure is not None:
            raise self.failure


def wait_for_waiters(checks: Checks, transaction_id: ID, count: int) -> None:
    """Wait until *count* threads wait for the check of a transaction that is under way."""
    wait_until(lambda: len(checks._running.get(transaction_id, ())) >= count)


@pytest.mark.parametrize("failure", [None, chain.Invalid("the signature is wrong")])
def test_threads_that_bring_the_same_transaction_share_one_check(failure: Exception | None) -> None:
    held, transaction_id = Held(failure), ID.of(b"tx")
    checks = Checks(held)
    with ThreadPoolExecutor(THREADS) as threads:
        results = [threads.submit(checks.one, transaction_id, b"tx") for _ in range(THREADS - 1)]
        many = threads.submit(checks.many, [transaction_id], [b"tx"])
        assert held.begun.wait(DEADLINE_S)
        wait_for_waiters(checks, transaction_id, THREADS - 1)
        held.go.set()
        assert [each.exception(DEADLINE_S) for each in results] == [failure] * (THREADS - 1)
        assert many.result(DEADLINE_S) == [failure]
    assert held.calls == 1
    checks.close()


def test_a_slow_check_delays_no_other_transaction() -> None:
    held = Held()
    checks = Checks(lambda transaction: held(transaction) if transaction == b"slow" else None)
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(checks.one, ID.of(b"slow"), b"slow")
        assert held.begun.wait(DEADLINE_S)
        checks.one(ID.of(b"other"), b"other")
        assert checks.many([ID.of(b"more")], [b"more"]) == [None]
        held.go.set()
        slow.result(DEADLINE_S)
    checks.close()


def test_a_check_that_is_interrupted_lets_the_others_go_on() -> None:
    held, transaction_id = Held(KeyboardInterrupt()), ID.of(b"tx")
    checks = Checks(held)
    with ThreadPoolExecutor(2) as threads:
        results = [threads.submit(checks.one, transaction_id, b"tx") for _ in range(2)]
        wait_for_waiters(checks, transaction_id, 1)
        held.go.set()
        kinds = {type(each.exception(DEADLINE_S)) for each in results}
    assert kinds == {KeyboardInterrupt, VMError}
    held.failure = None
    checks.one(transaction_id, b"tx")
    checks.close()


@pytest.mark.parametrize("count", [2, 3 * MIN_PER_THREAD])
def test_a_transaction_that_is_submitted_twice_at_once_is_checked_once(count: int) -> None:
    engine = Engine(Counting())
    txs = [b"%s %d" % (kind, number) for number in range(count) for kind in (b"good", b"bad")]
    results = engine.vm.submit_many(txs * 2)
    assert [isinstance(each, ID) for each in results] == [tx.startswith(b"good") for tx in txs * 2]
    assert engine.vm.checked == Counter(txs)
    engine.produce()
    engine.vm.submit(txs[0])
    assert engine.vm.checked == Counter(txs)
    engine.stop()


def test_a_chain_that_ends_waits_only_for_the_checks_that_are_running() -> None:
    held = Held()

    class Slow(Counting):
        def check(self, tx: bytes) -> None:
            held(tx)

    engine = Engine(Slow())
    with ThreadPoolExecutor(2) as threads:
        submitted = threads.submit(engine.vm.submit_many, [b"%d" % number for number in range(200)])
        assert held.begun.wait(DEADLINE_S)
        stopped = threads.submit(engine.stop)
        wait_until(lambda: engine.vm._checks._closed)
        held.go.set()
        stopped.result(DEADLINE_S)
        with pytest.raises(VMError, match="the chain is shutting down"):
            submitted.result(DEADLINE_S)
    assert held.calls <= engine.vm._checks._threads


def test_a_chain_that_ends_does_not_wait_for_the_transactions_of_rejected_blocks() -> None:
    held = Held()

    class Slow(Counting):
        def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> None:
            if threading.current_thread().name.startswith("vmsdk-chain"):
                held(tx)

    engine = Engine(Slow())
    txs = [b"%d" % number for number in range(20)]
    engine.vm.submit_many(txs)
    block = engine.build()
    for each in txs:
        engine.vm.pool.remove(ID.of(each), "expired")
    block.reject()
    with ThreadPoolExecutor(1) as threads:
        assert held.begun.wait(DEADLINE_S)
        stopped = threads.submit(engine.stop)
        wait_until(engine.vm._ending.is_set)
        held.go.set()
        stopped.result(DEADLINE_S)
    assert held.calls == 1
