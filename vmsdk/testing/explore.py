"""Checks a VM without tests: executes its transactions under everything that a node can do."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.chain.replica import HASH_SEED, LOCALE, TIME_ZONE
from vmsdk.errors import Refused, VMError
from vmsdk.host.errors import CallFailed, HostError
from vmsdk.testing.blocks import Block
from vmsdk.testing.chain import Chain
from vmsdk.testing.crash import check_blocks, check_replay, compare, crash_test
from vmsdk.testing.faults import garbage
from vmsdk.testing.node import VM
from vmsdk.testing.remote import is_importable

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

DEFAULT_TRANSACTIONS = 12
_LATER_S = 100_000
_GARBAGE = 200
_WAITS = 100
_QUIET_S = 0.3
_BRANCH_BLOCKS = 3
_NO_TRANSACTION = "the VM has accepted no transaction: pass txs that are valid on a new chain"
_LARGE_BYTES = 1024 * 1024


class Failed(AssertionError):
    """A VM fails checks. *failures* has a text for each, by name."""

    def __init__(self, failures: dict[str, str]) -> None:
        self.failures = failures
        lines = "\n".join(f"  {name}: {text}" for name, text in failures.items())
        super().__init__(f"the VM fails {len(failures)} checks:\n{lines}")


def check(
    vm: VM,
    *,
    genesis: bytes | str | dict[str, Any] | list[Any] = b"",
    txs: Any = (),
    count: int = DEFAULT_TRANSACTIONS,
    only: Iterable[str] = (),
    **options: Any,
) -> list[str]:
    """Check *vm* under everything that a node and its peers can do; returns the names of the
    checks.

    *txs* are transactions that are valid in this order on a new chain: an iterable, a function that
    gets the chain (for its ID) and returns one, or a hypothesis strategy for one transaction, of
    which *count* are drawn. Those that the VM refuses are skipped. *only* selects checks by name.
    *options* are those of `Chain`. Raises `Failed`, with everything that was found.
    """
    trial = _Trial(vm, txs, count, {"genesis": genesis, **options})
    checks: dict[str, Callable[[], None]] = {
        "blocks": trial.blocks,
        "forks": trial.forks,
        "restarts": trial.restarts,
        "crashes": trial.crashes,
        "failed writes": trial.failed_writes,
        "replay": trial.replay,
        "events": trial.events,
        "peers": trial.peers,
        "limits": trial.limits,
    }
    unknown = set(only) - checks.keys()
    if unknown:
        raise ValueError(f"there are no checks {sorted(unknown)}: the checks are {', '.join(checks)}")
    failures: dict[str, str] = {}
    chosen = [name for name in checks if not only or name in set(only)]
    if "replay" in chosen and callable(vm) and not is_importable(vm):
        chosen.remove("replay")
        warnings.warn(
            f"vmsdk.testing.check has skipped the replay under another hash seed: another process can't "
            f"import {vm!r}. Move the class to the top level of its module, and pass the class itself",
            stacklevel=2,
        )
    for name in chosen:
        try:
            checks[name]()
        except (AssertionError, VMError, LookupError, TimeoutError) as error:
            failures[name] = str(error) or repr(error)
    if failures:
        raise Failed(failures)
    return chosen


class _Trial:
    def __init__(self, vm: VM, txs: Any, count: int, options: dict[str, Any]) -> None:
        self._vm = vm
        self._options = options
        if hasattr(txs, "example"):
            txs = _drawn(txs, count)
        elif not callable(txs):
            txs = list(txs)  # A generator can be iterated only once.
        self._txs = txs

    def chain(self, **changed: Any) -> Chain:
        return Chain(self._vm, **{**self._options, **changed})

    def work(self, chain: Chain) -> Iterator[Any]:
        """Submit the transactions one by one; yields each that the VM accepts."""
        for tx in self._txs(chain) if callable(self._txs) else self._txs:
            try:
                chain.submit(tx)
            except Refused:
                continue
            yield tx

    def grow(self, chain: Chain) -> None:
        """Accept a block for each transaction. Raises `AssertionError` if there is none."""
        for _ in self.work(chain):
            chain.accept(chain.build())
        assert chain.height > 0, _NO_TRANSACTION

    # The checks -----------------------------------------------------------------------------------

    def blocks(self) -> None:
        """Blocks are found, and parse from their bytes as they were built."""
        with self.chain() as chain:
            self.grow(chain)
            check_blocks(chain)
            client = chain.host.client
            for block in chain.blocks():
                parsed = client.ParseBlock(pb.ParseBlockRequest(bytes=block.raw))
                found = client.GetBlock(pb.GetBlockRequest(id=block.id))
                assert parsed.id == block.id, f"the bytes of {block!r} parse to another block"
                assert not found.err, f"{block!r} is accepted, but get_block does not find it"
                assert found.bytes == block.raw, f"{block!r} has different bytes from when it was built"
                assert parsed.height == found.height == block.height, f"{block!r} changes its height"
            check_replay(chain, self.chain())

    def forks(self) -> None:
        """Of two branches, either can be accepted, and the other leaves nothing behind."""
        for branch_wins in (True, False):
            with self.chain() as chain:
                branch: list[Block] = []
                for tx in self.work(chain):
                    branch.append(chain.build())
                    if len(branch) == 1:
                        chain.time += 1  # So that the same transaction makes another block.
                        other = chain.fork(branch[0].parent, [tx])
                    if len(branch) == _BRANCH_BLOCKS:
                        break
                assert branch, _NO_TRANSACTION
                winner = branch[-1] if branch_wins else other
                chain.accept(winner)
                assert chain.last == winner, f"{winner!r} was accepted, but is not the last: {chain.last!r}"
                check_blocks(chain)
                check_replay(chain, self.chain())

    def restarts(self) -> None:
        """A restart changes nothing, and forgets undecided blocks."""
        with self.chain() as chain:
            for _ in self.work(chain):
                block = chain.build()
                before, last = chain.stored, chain.last
                chain.restart()
                assert chain.last == last, f"the last accepted block was {last!r}, and is {chain.last!r}"
                compare(chain.stored, before)
                chain.accept(chain.verify(block.raw))
            check_replay(chain, self.chain())

    def crashes(self) -> None:
        """A crash at any write or call leaves a consistent chain."""
        crash_test(self.grow, self.chain)

    def failed_writes(self) -> None:
        """A write that fails stops the chain, and accepts nothing."""
        with self.chain() as chain:
            for _ in self.work(chain):
                block = chain.build()
                for method in ("Put", "Delete", "WriteBatch"):
                    chain.faults.fail(method, "the disk is full")
                parent = chain.last
                try:
                    chain.accept(block)
                except HostError:
                    chain.faults.clear()
                    chain.restart()
                    assert chain.last == parent, "a block whose write has failed is accepted"
                    chain.accept(chain.verify(block.raw))
                else:
                    assert chain.faults.clear() == 3, "accept succeeds although the write has failed"
            check_replay(chain, self.chain())

    def replay(self) -> None:
        """A process with another hash seed, time zone, locale and clock has the same result."""
        with self.chain() as chain:
            self.grow(chain)
            other = self.chain(process=True)
            other.environment = {"TZ": TIME_ZONE, "LC_ALL": LOCALE, "PYTHONHASHSEED": str(HASH_SEED)}
            chain.time += _LATER_S
            check_replay(chain, other)

    def events(self) -> None:
        """Work is reported even if the node keeps cancelling its wait; nothing without work."""
        with self.chain() as chain:
            for number, _ in enumerate(self.work(chain)):
                if number == 0:
                    chain.cancel_waits(_WAITS)
                chain.accept(chain.build())
            while chain.host.chain.next_event(_QUIET_S) is not None:
                try:
                    block = chain.build(wait=False)
                except CallFailed:
                    raise AssertionError("the VM reports work, but builds no block") from None
                chain.accept(block)
                assert chain.height <= 10_000, "the VM always reports work"

    def peers(self) -> None:
        """Nodes accept the same blocks although messages arrive twice and out of order."""
        with self.chain() as chain:
            peer = chain.peer()
            chain.faults.scramble()
            peer.faults.scramble()
            for _ in self.work(chain):
                chain.accept(chain.build())
                peer.follow(chain)
            chain.faults.clear()
            peer.faults.clear()
            compare(chain.stored, peer.stored)
            for each in (chain, peer):
                assert each.is_running, "a message of a peer has stopped the chain"

    def limits(self) -> None:
        """Garbage is refused, and blocks fit a message however many transactions are pending."""
        with self.chain() as chain:
            for message in (bytes(_LARGE_BYTES), b"\xff" * _LARGE_BYTES, *garbage(1, _GARBAGE)):
                with suppress(CallFailed):
                    chain.parse(message)
            chain.send_garbage(_GARBAGE)
            for _ in self.work(chain):
                pass
            chain.accept(chain.build())  # The host refuses blocks that are too large.


def _drawn(strategy: SearchStrategy[Any], count: int) -> list[Any]:
    """Return *count* transactions from a strategy, the same in each run."""
    from hypothesis import HealthCheck, Phase, given, settings

    drawn: list[Any] = []

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(tx: Any) -> None:
        drawn.append(tx)

    draw()
    return drawn
