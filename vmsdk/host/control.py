"""Manual control of a chain: makes blocks, sets the clock and the validators, injects failures.
Where possible, names follow anvil, Ethereum's development node.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vmsdk.errors import VMError
from vmsdk.host.appnetwork import MAX_MESSAGE_BYTES, REQUEST_TIMEOUT_S, Peer
from vmsdk.host.appsender import SentGossip, SentRequest
from vmsdk.host.block import Block
from vmsdk.host.chain import Chain
from vmsdk.host.clock import Clock
from vmsdk.host.errors import CallFailed, ChainFatal, ChainMisused, ClientClosed, HostError, PluginGone
from vmsdk.host.node import Host
from vmsdk.host.service import ServiceError
from vmsdk.host.snapshots import Snapshots
from vmsdk.ids import ID, NodeID
from vmsdk.nodeservices import CurrentValidator
from vmsdk.state import Event
from vmsdk.timestamp import Timestamp

MAX_MINED_BLOCKS = 10_000
MAX_SECONDS = 10**10
RESTART_TIMEOUT_S = 60.0
HEALTH_INTERVAL_S = 30.0
"""How often a node asks for a chain's health. Source: the default of health-check-frequency."""
DEFAULT_WEIGHT = 100
"""The weight of a validator that is given without one."""


class Control:
    """Makes the blocks of a chain, and carries out developers' requests, across restarts of the VM.

    *clock* is that of the VM, None if it can't be set. *restart* ends the process, by SIGKILL if
    its argument is true, and starts another; it returns at once. `prepare`, `begin` and `end`
    announce each process. The other methods raise `HostError`.
    """

    def __init__(self, clock: Clock | None, restart: Callable[[bool], None]) -> None:
        self._clock = clock
        self._restart = restart
        self._changed = threading.Condition()
        self._host: Host | None = None
        self._starts = 0
        self._closed = False
        self._automine = True
        self._interval_s = 0.0
        self._to_reject = 0
        self._heights = (0, 0)
        self._validators: list[CurrentValidator] | None = None
        self._snapshots = Snapshots()
        self._reverting: int | None = None
        """The snapshot to which the next process reverts."""
        self._not_reverted: HostError | None = None
        """Why the current process didn't revert."""
        self._threads: list[threading.Thread] = []
        self._on_build_failed: Callable[[HostError], None]
        self._on_broken: Callable[[Exception], None]
        self._on_health: Callable[[HostError | None], None]

    # Life -----------------------------------------------------------------------------------------

    def restore(self, database: Path, files: Path) -> None:
        """Restore the snapshot to revert to, if there is one. Call it before the host starts."""
        number, self._reverting = self._reverting, None
        if number is not None:
            try:
                self._snapshots.restore(number, database, files, self._clock)
            except HostError as error:
                self._not_reverted = error

    def prepare(self, host: Host) -> None:
        """Set the validators and heights that the VM will see. Call it before the chain starts."""
        validators = host.services.validators
        minimum, current = self._heights
        validators.set_heights(current=current, minimum=minimum)
        own = host.config.identity
        validators.set_validators(
            host.config.subnet_id,
            [CurrentValidator(own.node_id, DEFAULT_WEIGHT, own.uncompressed_public_key)]
            if self._validators is None
            else self._validators,
            height=0,
        )

    def begin(
        self,
        host: Host,
        on_build_failed: Callable[[HostError], None],
        on_broken: Callable[[Exception], None],
        on_health: Callable[[HostError | None], None] = lambda error: None,
    ) -> None:
        """Make blocks of the chain, which is in normal operation, and check its health like a node.

        *on_health* gets the result of each check: None, or the error of an unhealthy VM.
        *on_broken* is called, on another thread, with an error that neither the VM nor the exit of
        its process has caused: no more blocks are made.
        """
        with self._changed:
            self._host = host
            self._starts += 1
            self._on_build_failed, self._on_broken = on_build_failed, on_broken
            self._on_health = on_health
            self._threads = [
                threading.Thread(target=self._run, args=(work, host), name=name, daemon=True)
                for work, name in (
                    (self._mine_on_events, "engine"),
                    (self._mine_by_time, "interval"),
                    (self._ask_for_health, "health"),
                )
            ]
            self._changed.notify_all()
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Make no more blocks: the process is about to exit. Idempotent."""
        with self._changed:
            host, self._host = self._host, None
            self._changed.notify_all()
        if host is not None:
            host.chain.end_events()

    def join(self) -> None:
        """Wait until no block is being made. Call it when the process has exited."""
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def close(self) -> None:
        """Delete the snapshots, and fail the calls that wait for a restart."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._snapshots.close()

    # Blocks ---------------------------------------------------------------------------------------

    def mine(self, blocks: int = 1, interval: float = 0) -> list[Block]:
        """Make *blocks* now, even if the VM has not signalled work.

        The clock moves by *interval* seconds after each but the last.
        """
        if not 1 <= blocks <= MAX_MINED_BLOCKS:
            raise ChainMisused(f"blocks must be a number from 1 to {MAX_MINED_BLOCKS}, not {blocks}")
        if interval < 0:
            raise ChainMisused(f"interval must be at least 0 seconds, not {interval:g}")
        chain = self._chain()
        made: list[Block] = []
        for number in range(blocks):
            if number and interval:
                self.increase_time(interval)
            try:
                made.append(self._make(chain))
            except CallFailed as error:
                raise ChainMisused(f"made {number} of {blocks} blocks: {error}") from None
        return made

    def set_automine(self, on: bool) -> None:
        """Choose whether a block is made whenever the VM has work, which is the default."""
        with self._changed:
            self._automine = on
            self._changed.notify_all()

    def get_automine(self) -> bool:
        """Return whether blocks are made whenever the VM has work."""
        return self._automine

    def set_interval_mining(self, seconds: float) -> None:
        """Make a block every *seconds* if there is work, instead of automining; 0 stops."""
        if not 0 <= seconds <= threading.TIMEOUT_MAX:
            raise ChainMisused(f"seconds must be at least 0, not {seconds:g}")
        with self._changed:
            self._interval_s = seconds
            if seconds:
                self._automine = False
            self._changed.notify_all()

    def get_interval_mining(self) -> float:
        """Return the seconds between blocks; 0 if interval mining is off."""
        return self._interval_s

    def propose(self, parent: ID | None = None) -> Block:
        """Build and verify a block, but don't decide it.

        Without *parent* it is built on the preferred block and becomes the preferred one; with
        *parent* it competes with that block's children.
        """
        chain = self._chain()
        with chain.engine.lock:
            preferred = chain.preference
            if parent is not None:
                chain.prefer(parent)
            try:
                block = chain.build_block()
                chain.verify(block)
            finally:
                if parent is not None:
                    chain.prefer(preferred)
            if parent is None:
                chain.prefer(block.id)
            return block

    def undecided(self) -> list[Block]:
        """Return the verified, undecided blocks; parents come first."""
        return self._chain().processing

    def preference(self) -> ID:
        """Return the block that the VM builds on."""
        return self._chain().preference

    def reorg(self, id: ID) -> None:
        """Prefer an undecided block of another branch, or the last accepted block."""
        self._chain().prefer(id)

    def accept(self, id: ID | None = None) -> tuple[list[Block], list[Block]]:
        """Accept an undecided block (default: the preferred one) with its undecided ancestors.

        Returns the accepted blocks, and those that conflicted and were rejected.
        """
        chain = self._chain()
        with chain.engine.lock:
            wanted = chain.preference if id is None else id
            block = next((each for each in chain.processing if each.id == wanted), None)
            if block is None:
                raise ChainMisused(f"{wanted} is not an undecided block")
            return chain.accept_with_ancestors(block)

    def reject_next(self, blocks: int = 1) -> None:
        """Reject the next *blocks* that are made, instead of accepting them."""
        if not 0 <= blocks <= MAX_MINED_BLOCKS:
            raise ChainMisused(f"blocks must be a number from 0 to {MAX_MINED_BLOCKS}, not {blocks}")
        self._to_reject = blocks

    # Time -----------------------------------------------------------------------------------------

    def increase_time(self, seconds: float) -> int:
        """Move the VM's clock forward, or back if negative. Returns the whole offset in seconds."""
        clock = self._movable_clock()
        clock.set_offset(clock.offset_ns + _nanoseconds(seconds))
        return clock.offset_ns // 10**9

    def set_time(self, timestamp: float) -> int:
        """Set the VM's clock to *timestamp*, in Unix seconds. Returns the offset in seconds."""
        clock = self._movable_clock()
        clock.set_offset(_nanoseconds(timestamp) - time.time_ns())
        return clock.offset_ns // 10**9

    def get_time(self) -> float:
        """Return the time that the VM sees, in Unix seconds."""
        moment = Timestamp.now() if self._clock is None else self._clock.now()
        return moment.seconds + moment.nanos / 1e9

    # State ----------------------------------------------------------------------------------------

    def snapshot(self) -> int:
        """Save the database, the VM's files and the time. Returns a number for `revert`."""
        return self._snapshots.save(self._running(), self._clock)

    def revert(self, id: int) -> None:
        """Go back to a snapshot, with a new process of the VM. Forgets it and all later ones.

        If that fails, on a full disk for instance, the chain continues unchanged, and the snapshots
        are kept.
        """
        self._snapshots.check(id)
        self._running()
        self._not_reverted, self._reverting = None, id
        self._start_again(kill=True)
        if self._not_reverted is not None:
            raise self._not_reverted

    def kill(self) -> None:
        """Kill the VM's process and start another."""
        self._start_again(kill=True)

    def restart(self) -> None:
        """Shut the VM down and start another process."""
        self._start_again(kill=False)

    def fail_database(self, calls: int = 1, message: str = "injected fault") -> None:
        """Make the next *calls* of the node's database fail."""
        if calls < 0:
            raise ChainMisused(f"calls must be at least 0, not {calls}")
        failing = iter(range(calls))

        def around(name: str, request: Any, invoke: Callable[[], Any]) -> Any:
            if next(failing, None) is not None:
                raise ServiceError(message)
            return invoke()

        self._running().services.database.around = around

    # The P-chain ----------------------------------------------------------------------------------

    def set_validators(self, validators: Sequence[CurrentValidator]) -> None:
        """Set who validates the chain's subnet, from now on and at the current P-chain height."""
        ids = [validator.node_id for validator in validators]
        twice = next((each for each in ids if ids.count(each) > 1), None)
        if twice is not None:
            raise ChainMisused(f"{twice} is listed twice: list each validator once")
        self._validators = list(validators)
        host = self._running()
        host.services.validators.set_validators(host.config.subnet_id, self._validators)

    def set_p_chain_height(self, height: int, minimum: int | None = None) -> None:
        """Set the P-chain's height, and the height that blocks carry if it differs."""
        lowest = height if minimum is None else minimum
        if not 0 <= lowest <= height < 2**64:
            raise ChainMisused(f"minimum must be from 0 to height, but minimum is {lowest}, height {height}")
        self._heights = (lowest, height)
        self._running().services.validators.set_heights(current=height, minimum=lowest)

    # Peers ----------------------------------------------------------------------------------------

    def connect_peer(self, peer: NodeID) -> None:
        """Connect a peer that sends nothing by itself."""
        self._chain().connect(Peer(peer))

    def disconnect_peer(self, peer: NodeID) -> None:
        """Disconnect a peer."""
        chain = self._chain()
        if chain.services.network.peer(peer) is None:
            raise ChainMisused(f"{peer} is not connected")
        chain.disconnect(peer)

    def app_gossip(self, peer: NodeID, message: bytes) -> None:
        """Gossip *message* to the VM as *peer*."""
        _check_size(message)
        self._chain().services.network.gossip(peer, message)

    def app_request(self, peer: NodeID, message: bytes) -> bytes:
        """Send a request to the VM as *peer*, and return the response."""
        _check_size(message)
        try:
            return self._chain().services.network.request(peer, message).result(REQUEST_TIMEOUT_S * 2)
        except VMError as error:
            raise ChainMisused(f"the VM responded with an error: {error}") from None

    def sent_messages(self) -> list[SentGossip | SentRequest]:
        """Return the requests and gossip that this process of the VM has sent to peers."""
        sent = self._running().services.app_sender.sent
        return [each for each in sent if isinstance(each, (SentGossip, SentRequest))]

    # Inside ---------------------------------------------------------------------------------------

    def _running(self) -> Host:
        with self._changed:
            if self._host is None:
                raise ChainMisused("the chain is not running: it is starting or has stopped; try again soon")
            return self._host

    def _chain(self) -> Chain:
        return self._running().chain

    def _movable_clock(self) -> Clock:
        if self._clock is None:
            raise ChainMisused("only the clock of a VM in Python can be moved")
        return self._clock

    def _make(self, chain: Chain) -> Block:
        with chain.engine.lock:
            if not self._to_reject:
                return chain.produce()
            block = chain.build_block()
            chain.verify(block)
            self._to_reject -= 1
            chain.reject(block)
            return block

    def _start_again(self, *, kill: bool) -> None:
        self._running()
        with self._changed:
            starts = self._starts
        self._restart(kill)
        with self._changed:
            if not self._changed.wait_for(lambda: self._starts > starts or self._closed, RESTART_TIMEOUT_S):
                raise ChainMisused(f"the VM did not start again within {RESTART_TIMEOUT_S:.0f} s")
            if self._starts == starts:
                raise ChainMisused("the VM did not start again: see the output of vmsdk dev")

    def _run(self, work: Callable[[Host], None], host: Host) -> None:
        try:
            work(host)
        except (ChainFatal, PluginGone, ClientClosed):
            pass  # The chain and the process report these themselves.
        except Exception as error:  # noqa: BLE001 - on_broken reports it
            self._on_broken(error)

    def _mine_on_events(self, host: Host) -> None:
        while True:
            event = host.chain.next_event()
            if event is None:
                return
            if event is not Event.BUILD_BLOCK:
                continue
            with self._changed:
                was_on = self._automine
                self._changed.wait_for(lambda: self._automine or self._host is not host)
                if self._host is not host:
                    return
            try:
                self._make(host.chain)
            except CallFailed as error:
                if was_on:  # Otherwise the work may be done by now.
                    self._on_build_failed(error)

    def _mine_by_time(self, host: Host) -> None:
        while True:
            with self._changed:
                is_due = not self._changed.wait(self._interval_s or None)
                if self._host is not host:
                    return
            if not is_due:
                continue  # Something has changed, perhaps the interval: wait again.
            try:
                self._make(host.chain)
            except CallFailed:
                pass  # Usually, there is nothing to build.

    def _ask_for_health(self, host: Host) -> None:
        is_over = False
        while not is_over:
            try:
                host.chain.health()
            except CallFailed as error:
                self._on_health(error)
            else:
                self._on_health(None)
            with self._changed:
                is_over = self._changed.wait_for(lambda: self._host is not host, HEALTH_INTERVAL_S)


def _check_size(message: bytes) -> None:
    if len(message) > MAX_MESSAGE_BYTES:
        raise ChainMisused(
            f"a message has at most {MAX_MESSAGE_BYTES} bytes, and this one has {len(message)}: nodes drop it"
        )


def _nanoseconds(seconds: float) -> int:
    if abs(seconds) > MAX_SECONDS:
        raise ChainMisused(f"{seconds:g} s is out of range: at most {MAX_SECONDS} s")
    return int(seconds * 1e9)
