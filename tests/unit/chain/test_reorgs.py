"""Forks and clients at once: each transaction is in the chain once, and no sender is stuck."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import vmsdk
from tests.unit.chain.engine import Engine
from tests.unit.chain.test_admission import Clock, Nonces, next_nonce
from vmsdk import chain
from vmsdk.chain.block import BLOCK_OVERHEAD_BYTES, TRANSACTION_OVERHEAD_BYTES, Block, Header
from vmsdk.ids import ID

DEADLINE_S = 60
DEPTH = 5


class OneByOne(Nonces):
    """A block has room for one transaction."""

    limits = chain.Limits(
        block_bytes=BLOCK_OVERHEAD_BYTES + TRANSACTION_OVERHEAD_BYTES + 7, transaction_bytes=7
    )


def settle(engine: Engine) -> None:
    """Wait for what the chain does in the background."""
    engine.vm._worker.submit(lambda: None).result(DEADLINE_S)


def fork(engine: Engine) -> list[Any]:
    """Build a chain of blocks and prefer its end."""
    blocks = []
    for _ in range(DEPTH):
        blocks.append(engine.build())
        engine.prefer(blocks[-1])
    return blocks


@pytest.mark.parametrize("builds_on_it", [False, True])
def test_a_reorganisation_replaces_five_blocks_of_the_same_nonces(builds_on_it: bool) -> None:
    here, elsewhere = Engine(OneByOne()), Engine(OneByOne())
    mine = [here.vm.submit(b"A %d 1" % number) for number in range(DEPTH + 3)]
    for number in range(DEPTH):
        elsewhere.vm.submit(b"A %d 2" % number)
    fork(here)
    theirs = [here.verify(block.raw) for block in fork(elsewhere)]
    here.prefer(theirs[-1])
    assert here.vm.has_pending_work()
    later = []
    if builds_on_it:
        later.append(here.build())
        assert later[0].block.transactions == (b"A 5 1",)
    for block in (*theirs, *later):
        here.accept(block)
    settle(here)
    while here.vm.has_pending_work():
        later.append(here.produce())
    assert [tx for block in later for tx in block.block.transactions] == [b"A 5 1", b"A 6 1", b"A 7 1"]
    assert len(here.vm.pool) == 0
    assert here.vm.dropped(mine[0]) == "no longer valid: the nonce is too low (expected=1)"
    assert next_nonce(here, b"A") == DEPTH + 3
    here.vm.submit(b"A 8 1")
    here.produce()
    here.stop()
    elsewhere.stop()


@pytest.mark.parametrize("is_accepted", [True, False])
def test_transactions_that_expire_while_a_block_takes_them_are_not_lost(is_accepted: bool) -> None:
    clock = Clock()
    during: list[Callable[[], None]] = []

    class Expiring(Nonces):
        limits = chain.Limits(mempool_seconds=10)

        def execute(self, state: chain.State, tx: object, block: chain.Header) -> None:
            super().execute(state, tx, block)  # type: ignore[arg-type]
            if during:
                during.pop()()

    def expire() -> None:
        clock.now += 100
        engine.vm._admission.refresh()

    engine = Engine(Expiring())
    engine.vm.pool._clock = clock
    for number in range(3):
        engine.vm.submit(b"A %d 1" % number)
    during.append(expire)
    block = engine.build()
    assert (len(block.block.transactions), len(engine.vm.pool)) == (3, 0)
    if is_accepted:
        engine.accept(block)
    else:
        block.reject()
        engine.memory.forget(block.id)
        settle(engine)
        engine.produce()
    settle(engine)
    assert next_nonce(engine, b"A") == 3
    assert not engine.vm.has_pending_work()
    engine.stop()


@pytest.mark.parametrize(
    ("transactions", "message"),
    [
        ([b"A 0 1", b"A 0 2"], "transaction 1, .*, is invalid: the nonce is too low"),
        ([b"A 0 1", b"A 0 1"], "transaction 1, .*, is invalid: the nonce is too low"),
        ([b"A 1 1", b"A 0 1"], "transaction 0, .*, is invalid: the nonce is too high"),
    ],
)
def test_a_block_whose_transactions_exclude_each_other_is_invalid(
    transactions: list[bytes], message: str
) -> None:
    engine = Engine(Nonces())
    header = Header(engine.vm.last.id, 1, engine.vm.last.timestamp)
    with pytest.raises(vmsdk.InvalidBlock, match=message):
        engine.verify(Block(header, bytes(32), tuple(transactions)).raw)
    engine.vm.submit(b"A 0 1")
    engine.produce()
    engine.stop()


@pytest.mark.parametrize("seed", range(3))
def test_clients_submit_while_blocks_are_rejected(seed: int) -> None:
    class Narrow(Nonces):
        limits = chain.Limits(block_bytes=400, transaction_bytes=100)

    choose = random.Random(seed)
    senders, count = b"ABCDEF", 60
    here, elsewhere = Engine(Narrow()), Engine(Narrow())
    failures: list[vmsdk.VMError] = []

    def send(sender: int) -> None:
        try:
            for number in range(count):
                here.vm.submit(b"%c %d %d" % (sender, number, number % 5))
        except vmsdk.VMError as error:
            failures.append(error)

    clients = [threading.Thread(target=send, args=(sender,)) for sender in senders]
    for client in clients:
        client.start()
    accepted: Counter[bytes] = Counter()
    rivals = 0
    deadline_s = time.monotonic() + DEADLINE_S
    while any(client.is_alive() for client in clients) or len(here.vm.pool):
        assert time.monotonic() < deadline_s
        blocks: list[Any] = []
        while len(blocks) < DEPTH and here.vm.has_pending_work():
            blocks.append(here.build())
            here.prefer(blocks[-1])
        if blocks and choose.random() < 0.4:
            elsewhere.vm.submit(b"Z %d 1" % rivals)
            rivals += 1
            blocks = [here.verify(elsewhere.vm.build_block().raw)]
        for block in blocks:
            here.accept(block)
            accepted.update(block.block.transactions)
            elsewhere.accept(elsewhere.verify(block.raw))
        settle(here)
    for client in clients:
        client.join()
    assert failures == []
    mine = {b"%c %d %d" % (sender, number, number % 5) for sender in senders for number in range(count)}
    assert accepted == Counter([*mine, *(b"Z %d 1" % number for number in range(rivals))])
    assert here.vm.last.id == elsewhere.vm.last.id
    assert here.vm.dropped(ID.of(b"A 0 0")) == "accepted"
    here.stop()
    elsewhere.stop()
