"""The chain that tests drive, on a small VM in this process and as a plugin."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vmsdk import chain as batteries
from vmsdk import timestamp
from vmsdk.errors import Fatal
from vmsdk.host.errors import CallFailed, ChainFatal, ChainMisused, HostError
from vmsdk.ids import NodeID
from vmsdk.testing import Chain, Inconsistent, crash_test

NOON = 1_800_000_000


class Notes(batteries.Chain):
    def execute(self, state: batteries.State, tx: bytes, block: batteries.Header) -> None:
        if not tx:
            raise batteries.Invalid("a note is not empty")
        number = state.get_int(b"count")
        state[b"note/%d" % number] = tx
        state.put_int(b"count", number + 1)


class Stamped(Notes):
    """Writes the rules that are in force beside each note."""

    upgrades = ("loud",)

    def execute(self, state: batteries.State, tx: bytes, block: batteries.Header) -> None:
        super().execute(state, tx, block)
        state[tx] = b"loud" if self.ctx.upgrades.is_active("loud", block) else b"quiet"


class Archive(Notes, batteries.SyncableChain):
    sync_every = 2


class Counting(Notes):
    """Counts its blocks beside the batch that accepts them."""

    def on_accept(self, block: batteries.Block) -> None:
        self.ctx.db.put(b"blocks", b"%d" % block.height)


class Cowardly(Notes):
    """Stops at the first message that it does not understand."""

    def app_gossip(self, node_id: NodeID, message: bytes) -> None:
        super().app_gossip(node_id, message)
        raise Fatal("what is this?")


@pytest.fixture
def make() -> Iterator[Callable[..., Chain]]:
    chains: list[Chain] = []

    def make(vm: type[Notes] = Notes, **options: object) -> Chain:
        chains.append(Chain(vm, **options))  # type: ignore[arg-type]
        return chains[-1]

    yield make
    for each in chains:
        each.close()


@pytest.fixture
def chain(make: Callable[..., Chain]) -> Chain:
    return make().start()


def notes(chain: Chain) -> list[bytes]:
    with chain.snapshot() as state:
        return [value for _, value in state.scan(b"note/")]


# Blocks -------------------------------------------------------------------------------------------


def test_accepting_a_fork_rejects_the_other_branch(chain: Chain) -> None:
    chain.submit(b"a")
    a = chain.build()
    b = chain.fork(a.parent, [b"b", b"c"])
    child = chain.fork(b, [b"d"])
    assert [each.status for each in (a, b, child)] == ["processing"] * 3
    assert chain.accept(child) == [a]
    assert (a.status, b.status, chain.last) == ("rejected", "accepted", child)
    assert notes(chain) == [b"b", b"c", b"d"]
    assert chain.blocks() == [b.parent, b, child]


def test_the_tree_shows_what_became_of_each_block(chain: Chain) -> None:
    chain.submit(b"a")
    a = chain.build()
    b = chain.fork(a.parent, [b"b"])
    chain.accept(a)
    assert chain.tree().splitlines() == [
        f"0 {a.parent_id} accepted",
        f"  1 {a.id} accepted, preferred",
        f"  1 {b.id} rejected",
    ]


def test_a_block_that_the_vm_refuses_is_not_processing(chain: Chain) -> None:
    with pytest.raises(CallFailed, match="too few for a block's header"):
        chain.verify(b"no block")
    assert chain.processing == []


def test_a_refused_transaction_raises_what_the_vm_raises(chain: Chain) -> None:
    with pytest.raises(batteries.Invalid, match="a note is not empty"):
        chain.submit(b"")


def test_a_vm_without_work_builds_nothing(chain: Chain) -> None:
    with pytest.raises(CallFailed, match="BuildBlock"):
        chain.build(wait=False)


def test_a_vm_without_submit_needs_a_function_that_issues(chain: Chain) -> None:
    chain.vm.submit = None
    with pytest.raises(ChainMisused, match=r"issue\(client, tx\)"):
        chain.submit(b"a")


# Life ---------------------------------------------------------------------------------------------


def test_a_restart_keeps_accepted_blocks_and_forgets_undecided_ones(chain: Chain) -> None:
    first = chain.produce(b"a")
    chain.submit(b"b")
    second = chain.build()
    chain.restart()
    assert (chain.last, chain.processing, second.status) == (first, [], "forgotten")
    assert notes(chain) == [b"a"]


def test_after_a_kill_nothing_can_be_called_until_a_restart(chain: Chain) -> None:
    first = chain.produce(b"a")
    chain.kill()
    with pytest.raises(ChainMisused, match=r"restart\(\)"):
        chain.build()
    chain.restart()
    assert chain.last == first


@pytest.mark.parametrize(("when", "height"), [("before", 0), ("after", 1)])
def test_a_crash_beside_the_write_of_a_block(chain: Chain, when: str, height: int) -> None:
    chain.submit(b"a")
    block = chain.build()
    chain.crash_at("database write", when=when)  # type: ignore[arg-type]
    with pytest.raises(HostError):
        chain.accept(block)
    assert not chain.is_running
    chain.restart()
    assert chain.height == height


def test_after_a_crash_nothing_can_be_called_until_a_restart(chain: Chain) -> None:
    chain.submit(b"a")
    block = chain.build()
    chain.crash_at("database write")
    with pytest.raises(HostError):
        chain.accept(block)
    for verb in (chain.build, chain.health, lambda: chain.accept(block)):
        with pytest.raises(ChainMisused, match=r"has crashed before database write 2, .*: call restart\(\)"):
            verb()
    assert chain.accepted == [chain.block(block.parent_id)]
    chain.restart()
    chain.produce(b"b")


def test_a_vm_that_goes_on_after_a_crash_is_dead_all_the_same(make: Callable[..., Chain]) -> None:
    chain = make(Counting).start()
    chain.submit(b"a")
    block = chain.build()
    chain.crash_at("database write", 2)  # In on_accept, whose errors are only logged.
    with pytest.raises(HostError):
        chain.accept(block)
    chain.restart()
    assert chain.height == 1


def test_a_crash_at_a_method_that_does_not_exist_is_refused(chain: Chain) -> None:
    with pytest.raises(ValueError, match=r"'BuildBlok': the choices are database write, .*BuildBlock"):
        chain.crash_at("BuildBlok")


def test_a_fault_that_is_planned_before_the_start_must_have_a_method_too(make: Callable[..., Chain]) -> None:
    chain = make()
    chain.faults.fail("database write")
    with pytest.raises(ValueError, match="has a method 'database write'"):
        chain.start()


# Mistakes -----------------------------------------------------------------------------------------


def test_a_vm_is_given_as_its_class() -> None:
    with pytest.raises(TypeError, match=r"takes the VM's class, .* not <.*Notes"):
        Chain(Notes())  # type: ignore[arg-type]


def test_a_fork_has_a_list_of_transactions(chain: Chain) -> None:
    with pytest.raises(TypeError, match=r"not b'a': for one, write \[tx\]"):
        chain.fork(chain.last, b"a")


@pytest.mark.parametrize("number", [0, -1, "3"])
def test_crashes_are_counted_from_one(chain: Chain, number: Any) -> None:
    with pytest.raises(ValueError, match=f"calls are counted from 1, so number can't be {number!r}"):
        chain.crash_at("database write", number)


def test_a_crash_comes_before_or_after_a_call(chain: Chain) -> None:
    with pytest.raises(ValueError, match='a crash comes "before" or "after" a call, not \'during\''):
        chain.crash_at("database write", 1, "during")  # type: ignore[arg-type]


def test_a_fault_that_never_happens_is_refused(chain: Chain) -> None:
    with pytest.raises(ValueError, match="at least once, not 0 times"):
        chain.faults.fail("WriteBatch", times=0)


@pytest.mark.parametrize("count", [-1, 0, "3"])
@pytest.mark.parametrize("verb", ["cancel_waits", "send_garbage"])
def test_what_is_repeated_happens_at_least_once(chain: Chain, verb: str, count: Any) -> None:
    with pytest.raises(ValueError, match=f"count is a positive number, not {count!r}"):
        getattr(chain, verb)(count)


def test_a_condition_is_a_function(chain: Chain) -> None:
    with pytest.raises(TypeError, match=r"takes a function, not True: write wait_until\(lambda"):
        chain.wait_until(chain.height == 0)  # type: ignore[arg-type]


def test_a_chain_that_has_not_been_started_says_so(make: Callable[..., Chain]) -> None:
    with pytest.raises(ChainMisused, match=r"not been started: call start\(\)"):
        make().build()


def test_faults_of_which_nothing_has_happened_are_named(chain: Chain) -> None:
    chain.produce(b"a")
    chain.crash_at("BlockAccept", 3, "after")
    chain.faults.lose("Health")
    chain.faults.fail("BuildBlock", times=2)
    chain.submit(b"b")
    with pytest.raises(CallFailed):
        chain.build()
    chain.faults.fail("BlockVerify")
    never = ["faults.lose('Health'): there was no such call after it"]
    never += ["faults.fail('BlockVerify'): there was no such call after it"]
    crash = "crash_at('BlockAccept', 3, 'after'): there was {} after it"
    assert chain.faults.missing() == [*never, crash.format("no such call")]
    with pytest.raises(CallFailed):
        chain.health()
    for _ in range(2):  # The second failure to build, then the one to verify.
        with pytest.raises(CallFailed):
            chain.build()
    chain.accept(chain.build())
    assert chain.faults.missing() == [crash.format("1 such call")]
    chain.faults.clear()
    assert chain.faults.missing() == []


@pytest.mark.parametrize("verb", ["verify", "accept", "prefer", "fork"])
def test_a_verb_that_takes_a_block_explains_how_to_get_it_from_an_id(chain: Chain, verb: str) -> None:
    others = ([b"a"],) if verb == "fork" else ()
    with pytest.raises(
        TypeError, match=r"takes a block, not ID.*: for an ID, write chain\.block\(block_id\)"
    ):
        getattr(chain, verb)(chain.last.id, *others)


@pytest.mark.parametrize("verb", ["accept", "prefer"])
def test_a_verb_that_takes_a_block_explains_how_to_get_it_from_bytes(chain: Chain, verb: str) -> None:
    with pytest.raises(TypeError, match=r"for its bytes, chain\.parse\(raw\)"):
        getattr(chain, verb)(chain.last.raw)


def test_only_bytes_are_parsed(chain: Chain) -> None:
    with pytest.raises(TypeError, match=r"parse takes the bytes of a block, such as block\.raw, not 'x'"):
        chain.parse("x")  # type: ignore[arg-type]


@pytest.mark.parametrize("height", [-1, 1 << 64])
def test_a_height_that_can_not_be_has_no_block(chain: Chain, height: int) -> None:
    with pytest.raises(LookupError, match=f"there is no block at height {height}"):
        chain.block_at(height)


@pytest.mark.parametrize("seconds", [-1, "now", float("nan"), 253_402_300_800])
def test_a_time_that_can_not_be_is_refused(chain: Chain, seconds: float) -> None:
    with pytest.raises(ValueError, match=r"chain\.time is in Unix seconds, .*use its timestamp\(\)"):
        chain.time = seconds


def test_a_genesis_that_is_not_json_is_named() -> None:
    with pytest.raises(TypeError, match=r"genesis must be bytes, text, or a value for JSON: .*set"):
        Chain(Notes, genesis={"accounts": {1, 2}})


# Time ---------------------------------------------------------------------------------------------


def test_the_clock_stands_still_once_it_is_set(make: Callable[..., Chain]) -> None:
    chain = make().start()
    chain.time = NOON
    first = chain.produce(b"a")
    chain.time += 10
    chain.restart()
    second = chain.produce(b"b")
    assert (first.timestamp.seconds, second.timestamp.seconds) == (NOON, NOON + 10)
    chain.close()
    assert timestamp._clock == [time.time_ns]


@pytest.mark.parametrize("process", [False, True])
def test_time_moves_over_an_upgrade_on_all_nodes_and_the_past_stays(
    make: Callable[..., Chain], process: bool
) -> None:
    scheduled = {"upgrades": [{"name": "loud", "time": NOON}]}
    chain = make(Stamped, upgrade=scheduled, process=process).start()
    chain.time = NOON - 1
    chain.produce(b"before")
    peer = chain.peer()
    chain.time += 1
    chain.accept(chain.fork(chain.last, [b"after"]))
    peer.follow(chain)
    assert [each.stored[b"sbefore"] for each in (chain, peer)] == [b"quiet"] * 2
    assert [each.stored[b"safter"] for each in (chain, peer)] == [b"loud"] * 2
    chain.upgrade = b""
    with pytest.raises(ChainFatal, match=r"changes the past\. loud activates never"):
        chain.restart()
    chain.upgrade = scheduled
    chain.restart()
    assert chain.height == 2


# Faults -------------------------------------------------------------------------------------------


def test_a_failed_write_stops_the_chain(chain: Chain) -> None:
    chain.submit(b"a")
    block = chain.build()
    chain.faults.fail("WriteBatch", "the disk is full")
    with pytest.raises(ChainFatal, match="the disk is full"):
        chain.accept(block)
    chain.restart()
    assert chain.height == 0


def test_a_write_whose_response_is_lost_takes_effect(chain: Chain) -> None:
    chain.submit(b"a")
    block = chain.build()
    chain.faults.lose("WriteBatch")
    with pytest.raises(ChainFatal, match="lost"):
        chain.accept(block)
    chain.restart()
    assert chain.height == 1


def test_a_held_call_waits(chain: Chain) -> None:
    chain.submit(b"a")
    built = threading.Event()

    def build() -> None:
        chain.build()
        built.set()

    thread = threading.Thread(target=build)
    with chain.faults.hold("BuildBlock"):
        thread.start()
        chain.wait_until(lambda: chain.faults.reached["BuildBlock"] == 1)
        assert not built.is_set()
    thread.join()
    assert built.is_set()


def test_a_call_of_the_vm_can_fail(chain: Chain) -> None:
    chain.submit(b"a")
    chain.faults.fail("BuildBlock", "no luck")
    with pytest.raises(CallFailed, match="BuildBlock: no luck"):
        chain.build()


@pytest.mark.parametrize("process", [False, True])
def test_a_call_that_is_cancelled_can_be_made_again(make: Callable[..., Chain], process: bool) -> None:
    chain = make(process=process).start()
    chain.submit(b"a")
    chain.faults.cancel("BuildBlock")
    with pytest.raises(CallFailed, match="has cancelled the call"):
        chain.build()
    assert chain.build(wait=False).height == 1


def test_only_calls_of_the_vm_are_cancelled(chain: Chain) -> None:
    with pytest.raises(ValueError, match="the VM has no method 'WriteBatch'"):
        chain.faults.cancel("WriteBatch")


def test_garbage_is_survived(chain: Chain) -> None:
    chain.send_garbage(60)
    assert chain.produce(b"a").height == 1


def test_garbage_finds_a_vm_that_stops_at_it(make: Callable[..., Chain]) -> None:
    with pytest.raises(ChainFatal, match="what is this"):
        make(Cowardly).start().send_garbage(60)


def test_waits_that_are_cancelled_lose_no_event(chain: Chain) -> None:
    chain.cancel_waits(50)
    chain.submit(b"a")
    assert chain.build().height == 1


# Peers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scrambled", [False, True])
def test_gossip_reaches_peers(chain: Chain, scrambled: bool) -> None:
    chain.produce(b"a")
    peer = chain.peer()
    assert peer.last == chain.last
    if scrambled:
        chain.faults.scramble()
    chain.submit(b"b")
    block = peer.build()
    if scrambled:
        # The peer may have asked for the transaction before it was pushed.
        peer.wait_until(lambda: peer.faults.reached["AppGossip"] >= 1)
        chain.faults.clear()
        peer.wait_until(lambda: peer.faults.reached["AppGossip"] >= 2)
    peer.accept(block)
    chain.follow(peer)
    assert notes(chain) == notes(peer) == [b"a", b"b"]


def test_requests_are_scrambled_too(chain: Chain) -> None:
    peer = chain.peer()
    chain.faults.scramble()
    before = peer.faults.reached["AppRequest"]
    chain.vm.ctx.sender.send_app_request([peer.node_id], 1_001, b"a request")
    peer.wait_until(lambda: peer.faults.reached["AppRequest"] > before)
    chain.faults.clear()
    peer.wait_until(lambda: peer.faults.reached["AppRequest"] >= before + 2)


def test_a_peer_syncs_the_state(make: Callable[..., Chain]) -> None:
    chain = make(Archive).start()
    for note in (b"a", b"b", b"c"):
        chain.produce(note)
    chain.wait_until(chain.host.chain.state_sync.last)
    peer = chain.peer(state_sync=True)
    assert peer.faults.reached["StateSummaryAccept"] == 1
    assert chain.faults.reached["AppRequest"] > 0
    assert (peer.last, notes(peer)) == (chain.last, notes(chain))


# Crash tests --------------------------------------------------------------------------------------


def test_a_crash_test_names_the_moment_that_leaves_an_inconsistent_chain(
    make: Callable[..., Chain],
) -> None:
    with pytest.raises(Inconsistent, match="keys differ") as caught:
        crash_test(lambda chain: chain.produce(b"a"), lambda: make(Counting))
    # The writes are the genesis block, the block, and the count, which a crash can cut off.
    assert str(caught.value.point) == "after database write 2"


def test_a_crash_test_covers_each_write(make: Callable[..., Chain]) -> None:
    points = crash_test(lambda chain: chain.produce(b"a"), make)
    writes = [str(point) for point in points if point.what == "database write"]
    assert writes == [f"{when} database write {n}" for n in (1, 2) for when in ("before", "after")]


def test_a_scenario_that_fails_by_itself_is_not_a_crash(make: Callable[..., Chain]) -> None:
    with pytest.raises(batteries.Invalid):
        crash_test(lambda chain: chain.produce(b""), make)


# As a plugin --------------------------------------------------------------------------------------


def test_both_ways_come_to_the_same(make: Callable[..., Chain]) -> None:
    seen = []
    for process in (False, True):
        chain = make(process=process).start()
        chain.time = NOON
        with pytest.raises(batteries.Invalid, match="a note is not empty"):
            chain.submit(b"")
        a = chain.produce(b"a")
        chain.time += 5
        chain.submit(b"b")
        b = chain.build()
        c = chain.fork(a, [b"c"])
        assert chain.accept(c) == [b]
        chain.crash_at("database write")
        with pytest.raises(HostError):
            chain.accept(chain.fork(c, [b"d"]))
        chain.restart()
        chain.kill()
        chain.restart()
        seen.append(([block.id for block in chain.blocks()], chain.stored))
        chain.close()
    assert seen[0] == seen[1]


def test_the_vm_of_a_plugin_is_out_of_reach(make: Callable[..., Chain]) -> None:
    chain = make(process=True).start()
    with pytest.raises(ChainMisused, match="in_process"):
        _ = chain.vm


@pytest.mark.parametrize("tx", ["text", 5, None])
def test_a_plugin_is_given_bytes(make: Callable[..., Chain], tx: Any) -> None:
    chain = make(process=True).start()
    with pytest.raises(TypeError, match=f"takes bytes, or a transaction whose raw is bytes, not {tx!r}"):
        chain.submit(tx)


def test_a_class_within_a_function_cant_be_a_plugin(make: Callable[..., Chain]) -> None:
    class Local(Notes):
        pass

    with pytest.raises(ChainMisused, match="top level"):
        make(Local, process=True).start()


# In pytest ----------------------------------------------------------------------------------------

FAILING = """
import pytest
from vmsdk import chain as batteries

class Echo(batteries.Chain):
    def execute(self, state, tx, block):
        state[b"echo"] = tx

class TestWithVM:
    @pytest.fixture
    def vm(self):
        return Echo

    def test_fails(self, chain):
        peer = chain.peer()
        chain.produce(b"hello")
        peer.restart()
        peer.follow(chain)
        assert chain.height == 2

def test_without_a_vm(chain):
    pass
"""

NOT_REACHED = """
import pytest
from vmsdk import chain as batteries

class Echo(batteries.Chain):
    def execute(self, state, tx, block):
        state[b"echo"] = tx

@pytest.fixture
def vm():
    return Echo

def test_misses(chain):
    chain.crash_at("database write", 9)
    chain.produce(b"a")

def test_misses_on_another_chain(make_chain):
    chain = make_chain().start()
    chain.faults.fail("Health")

def test_misses_on_a_peer(chain):
    chain.peer().faults.fail("Health")

def test_fails_otherwise(chain):
    chain.crash_at("database write", 9)
    assert chain.height == 1

def test_wants_no_more(chain):
    chain.crash_at("database write", 9)
    chain.faults.clear()

def test_hits(chain):
    chain.crash_at("BlockAccept")
    with pytest.raises(Exception):
        chain.produce(b"a")
"""


def test_a_failed_test_shows_the_chain(tmp_path: Path) -> None:
    (tmp_path / "test_echo.py").write_text(FAILING)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path).stdout
    assert "1 failed, 1 error" in output, output
    for text in ("chain: blocks", "chain: last calls", "-> BlockAccept", "<- WriteBatch", "chain: log"):
        assert text in output, (text, output)
    for text in ("chain, peer 1: blocks", "chain, peer 1: last calls", "chain, peer 1: log"):
        assert text in output, (text, output)
    assert "define a fixture `vm` in conftest.py" in output


def test_a_test_that_passes_without_its_fault_fails(tmp_path: Path) -> None:
    (tmp_path / "test_echo.py").write_text(NOT_REACHED)
    command = [sys.executable, "-m", "pytest", "-rN", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path).stdout
    assert "4 failed, 2 passed" in output, output
    assert output.count("the test has passed without a fault that it asked for:") == 3, output
    for text in (
        "crash_at('database write', 9, 'before'): there was 1 such call after it",
        "faults.fail('Health'): there was no such call after it",
        "assert 0 == 1",
    ):
        assert text in output, (text, output)
