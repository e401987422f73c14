"""Events under random interleavings, through the development host: none lost, none doubled.

Authors add items to a VM's mempool from their own threads while the node builds, forks, prefers
back and forth, rejects, asks, cancels, and restarts the VM. An event that is lost leaves an item
that never gets into a block; an event that is doubled makes the node ask for a block when there is
nothing to build.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

import vmsdk
from vmsdk.host.chain import Chain
from vmsdk.host.errors import CallFailed
from vmsdk.state import Event, State

from .conftest import Served, eventually
from .plainvm import PlainBlock, PlainVM, encode

# Only a failing test waits that long.
PATIENCE_S = 60.0
# How long a test waits to see that nothing comes.
QUIET_S = 0.01
LIVES = 3
AUTHORS = 2
ITEMS = 12
"""Of each author in each life."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node is never late, however busy the machine is: nothing is sent to it again for that."""
    monkeypatch.setattr("vmsdk.rpc.events.RESEND_S", threading.TIMEOUT_MAX)
    monkeypatch.setattr("vmsdk.rpc.eventsource.MAX_UNVERIFIED_S", PATIENCE_S)


class ItemsVM(PlainVM):
    """Puts items of 4 bytes into blocks, up to three each."""

    def __init__(self, before: ItemsVM | None = None) -> None:
        super().__init__()
        self.mempool: list[bytes] = []
        self.included: set[bytes] = set()
        self.done: set[bytes] = set()
        self.builds_that_fail = 0
        if before is not None:
            self.accepted, self.last, self.done = before.accepted, before.last, before.done
            self.mempool = before.mempool
        self.preferred = self.last.id

    def add(self, item: bytes) -> None:
        with self.ctx.lock:
            self.mempool.append(item)
        self.ctx.notify()

    def pending(self) -> list[bytes]:
        return [item for item in self.mempool if item not in self.included]

    def has_pending_work(self) -> bool:
        return bool(self.pending())

    def set_preference(self, block_id: vmsdk.ID) -> None:
        self.preferred = block_id

    def build_block(self) -> PlainBlock:
        if self.builds_that_fail:
            self.builds_that_fail -= 1
            raise vmsdk.NothingToBuild("not this time")
        items = self.pending()[:3]
        if not items:
            raise vmsdk.NothingToBuild
        parent = self.ctx.get_block(self.preferred)
        return self.parse_block(encode(parent.id, parent.height + 1, b"".join(items)))

    def parse_block(self, data: bytes) -> PlainBlock:
        block = super().parse_block(data)
        items = {block.body[at : at + 4] for at in range(0, len(block.body), 4)}
        decide = block.accept

        def accept() -> None:
            decide()
            self.included -= items
            self.done |= items
            self.mempool[:] = [item for item in self.mempool if item not in items]

        block.accept = accept  # type: ignore[method-assign]
        block.reject = lambda: self.included.difference_update(items)  # type: ignore[method-assign]
        block.vm = self
        return block

    def on_verify(self, block: PlainBlock) -> None:
        self.included |= {block.body[at : at + 4] for at in range(0, len(block.body), 4)}


def all_items(lives: int) -> set[bytes]:
    return {
        bytes([life, author, number, 0])
        for life in range(lives)
        for author in range(AUTHORS)
        for number in range(ITEMS)
    }


class Life:
    """One life of the VM: the node's side, driven by *dice*."""

    def __init__(self, vm: ItemsVM, version: int, dice: random.Random, number: int) -> None:
        self.vm = vm
        self.version = version
        self.dice = dice
        self.number = number
        self.served = Served(vm, version)
        self.chain = Chain(self.served.client, self.served.services)
        # How many items the authors may add: a few at a time, so that there is often nothing to do.
        self.permits = threading.Semaphore(0)
        self.authors = [
            threading.Thread(target=self._write, args=(author, dice.randrange(2**32)), daemon=True)
            for author in range(AUTHORS)
        ]

    def _write(self, author: int, seed: int) -> None:
        dice = random.Random(seed)
        for number in range(ITEMS):
            self.permits.acquire()
            self.vm.add(bytes([self.number, author, number, 0]))
            for _ in range(dice.randrange(3)):
                self.vm.ctx.notify()
            if dice.random() < 0.2 and self.version < 42:
                # Something else is in the node's queue, which then refuses what the VM tells.
                self.served.services.events.offer(99)

    def expect(self, wanted: Event) -> None:
        event = self.chain.next_event(PATIENCE_S)
        assert event is not None, f"an event was lost: {self.vm.pending()} wait for a block"
        assert event is wanted

    def begin(self) -> None:
        self.chain.initialize()
        self.chain.begin_events()
        if self.dice.random() < 0.5:
            self.chain.set_state(State.STATE_SYNCING)
            finishers = [
                threading.Thread(target=self.vm.ctx.state_sync_finished)
                for _ in range(self.dice.randrange(1, 4))
            ]
            for finisher in finishers:
                finisher.start()
            self.expect(Event.STATE_SYNC_FINISHED)
            for finisher in finishers:
                finisher.join()
        self.chain.set_state(State.BOOTSTRAPPING)
        for author in self.authors:
            author.start()
        self.permits.release(self.dice.randrange(1, 4))
        self.chain.begin_normal_operation()

    def run(self, acts: int) -> None:
        """Go on until every item is in an accepted block, or for so many acts of the node."""
        wanted = all_items(self.number + 1)
        for _ in range(acts):
            self.rest()
            if wanted <= self.vm.done:
                return
            self.permits.release(self.dice.randrange(1, 3))
            act = self.dice.choices((self.produce, self.fork, self.fail, self.cancel), (6, 4, 0.3, 2))[0]
            act()

    def rest(self) -> None:
        """Now and then nobody adds anything: then the node builds what there is, and hears no
        more.
        """
        if self.dice.random() < 0.5:
            return
        while self.vm.has_pending_work():
            self.produce()
        if self.chain.next_event(QUIET_S) is not None:
            self.chain.produce()  # raises, unless an author has added something meanwhile

    def build(self) -> vmsdk.ID:
        self.expect(Event.BUILD_BLOCK)
        block = self.chain.build_block()  # raises when the event was one too many
        self.chain.verify(block)
        return block.id

    def produce(self) -> None:
        self.expect(Event.BUILD_BLOCK)
        self.chain.produce()

    def fork(self) -> None:
        """A block of ours and one of a peer's; one of them wins, after some back and forth."""
        last = self.chain.last_accepted
        ours = self.build()
        theirs = self.chain.parse_block(encode(last.id, last.height + 1, self.dice.randbytes(8)))
        self.chain.verify(theirs)
        for _ in range(self.dice.randrange(4)):
            self.chain.prefer(self.dice.choice([ours, theirs.id]))
        winner = self.dice.choice([ours, theirs.id])
        self.chain.accept(next(block for block in self.chain.processing if block.id == winner))

    def fail(self) -> None:
        self.vm.builds_that_fail = 1
        self.expect(Event.BUILD_BLOCK)
        with pytest.raises(CallFailed, match="not this time"):
            self.chain.build_block()

    def cancel(self) -> None:
        """Asks that the node gives up again, some of them at once."""
        calls = [self.served.client.WaitForEvent.start(Empty()) for _ in range(self.dice.randrange(1, 6))]
        for call in calls:
            call.cancel()


@contextmanager
def living(vm: ItemsVM, version: int, dice: random.Random, number: int) -> Iterator[Life]:
    life = Life(vm, version, dice, number)
    with life.served:
        life.begin()
        yield life
        life.chain.shutdown()
        # Authors go on for a while, after the chain's end.
        life.permits.release(AUTHORS * ITEMS)
        for author in life.authors:
            author.join()
    assert life.served.session.faults.counts() == {}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("version", [35, 41, 42])
def test_no_event_is_lost_and_none_is_doubled(version: int, seed: int) -> None:
    dice = random.Random(1_000 * version + seed)
    vm = ItemsVM()
    for number in range(LIVES):
        vm = ItemsVM(vm)
        with living(vm, version, dice, number) as life:
            life.run(acts=10_000 if number == LIVES - 1 else dice.randrange(5, 20))
    assert all_items(LIVES) <= vm.done


def test_the_waits_of_a_life_leave_nothing_behind() -> None:
    vm = ItemsVM()
    with living(vm, 46, random.Random(1), 0) as life:
        life.run(acts=30)
        for _ in range(300):
            life.cancel()
        assert life.served.client.Health(Empty()).details
        kept = life.served.client.WaitForEvent.start(Empty())
    # A server doesn't wait for long until threads whose calls it has cancelled have noticed.
    eventually(lambda: not life.served.session.events._waits)
    with pytest.raises((grpc.RpcError, grpc.FutureCancelledError)):
        kept.result(PATIENCE_S)
