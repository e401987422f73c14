"""Builds blocks from waiting transactions."""

from __future__ import annotations

import time
from collections.abc import Callable

from vmsdk.chain.admission import Admission
from vmsdk.chain.block import BLOCK_OVERHEAD_BYTES, TRANSACTION_OVERHEAD_BYTES, Block, Event, Header
from vmsdk.chain.candidate import Candidate
from vmsdk.chain.errors import Invalid, NotYet
from vmsdk.chain.execution import Executed, Execution
from vmsdk.chain.history import Outcomes
from vmsdk.chain.limits import Limits
from vmsdk.chain.mempool import Mempool, Pending
from vmsdk.chain.state import Overlay, State
from vmsdk.context import Context
from vmsdk.errors import NothingToBuild
from vmsdk.ids import ID

# A block is full once this many transactions did not fit.
MAX_MISFITS = 32


class Builder:
    """Builds on the preferred block. Use it in the engine's thread only."""

    def __init__(
        self,
        ctx: Context,
        limits: Limits,
        execution: Execution,
        pool: Mempool,
        admission: Admission,
        last: Callable[[], Block],
    ) -> None:
        self._ctx = ctx
        self._limits = limits
        self._execution = execution
        self._pool = pool
        self._admission = admission
        self._last = last
        # Both are caches for one pair of preferred and last accepted block.
        self._held: tuple[tuple[ID, ID], set[bytes]] = ((ID.EMPTY, ID.EMPTY), set())
        self._unbuildable: tuple[tuple[ID, ID], set[bytes]] = ((ID.EMPTY, ID.EMPTY), set())

    def has_work(self) -> bool:
        """Whether a transaction is ready that neither the preferred block nor an undecided ancestor
        contains.
        """
        if not self._pool.ready:
            return False
        tip = self._ctx.preferred
        held, unbuildable = self._held_at(tip), self._unbuildable_at(tip)
        if self._pool.ready > len(held) + len(unbuildable):
            return True
        return any(
            not each.is_parked and each.id not in held and each.id not in unbuildable
            for each in self._pool.all()
        )

    def build(self, tip: Candidate, base: State, header: Header) -> tuple[Block, Executed]:
        """Build a block with *header* on *tip*, after which the state is *base*.

        Raises `NothingToBuild`.
        """
        state = Overlay(base)
        self._execution.begin(state, header)
        block_events, state.events, state.written = state.events, [], 0
        taken, results, events = self._fill(state, header, tip)
        if not taken:
            raise NothingToBuild
        self._execution.end(state, header)
        block_events += state.events
        outcomes = Outcomes(tuple(results), (*events, tuple(block_events)))
        executed = Executed(state, outcomes, [each.transaction for each in taken])
        block = Block(header, executed.effects, tuple([each.raw for each in taken]))
        vars(block)["transaction_ids"] = tuple([each.id for each in taken])  # already hashed
        return block, executed

    def _fill(
        self, state: Overlay, header: Header, tip: Candidate
    ) -> tuple[list[Pending], list[bytes | None], list[tuple[Event, ...]]]:
        """Execute waiting transactions until the block is full or time is up."""
        taken: list[Pending] = []
        results: list[bytes | None] = []
        events: list[tuple[Event, ...]] = []
        unbuildable = self._unbuildable_at(tip)
        stopped_lanes: set[bytes | None] = set()
        broken_lanes: set[bytes | None] = set()  # those in which an earlier transaction is missing
        room = self._limits.block_bytes - BLOCK_OVERHEAD_BYTES
        misfits = 0
        deadline = time.monotonic() + self._limits.build_seconds
        held = self._held_at(tip)
        for pending in self._pool.ordered(held | unbuildable):
            if misfits > MAX_MISFITS or (taken and time.monotonic() > deadline):
                break
            if pending.sender is not None and pending.sender in stopped_lanes:
                if pending.sender in broken_lanes:
                    unbuildable.add(pending.id)
                continue
            size = len(pending.raw) + TRANSACTION_OVERHEAD_BYTES
            if size > room:
                stopped_lanes.add(pending.sender)
                misfits += 1
                continue
            attempt = Overlay(state)
            try:
                result = self._execution.run(attempt, pending.transaction, pending.raw, header)
            except NotYet:
                unbuildable.add(pending.id)
                stopped_lanes.add(pending.sender)
                broken_lanes.add(pending.sender)
                continue
            except Invalid as error:
                if tip.id == self._last().id:
                    self._drop(pending, f"no longer valid: {error}")
                else:
                    unbuildable.add(pending.id)
                continue
            except Exception:  # one transaction must not stop all others
                self._ctx.log.exception(
                    "execute failed for transaction %s, which is dropped: a bug in the rules", pending.id
                )
                self._drop(pending, "execute failed: a bug in the chain's rules")
                continue
            if state.written + attempt.written > self._limits.written_bytes:
                stopped_lanes.add(pending.sender)
                misfits += 1
                continue
            room -= size
            taken.append(pending)
            results.append(result)
            events.append(tuple(attempt.events))
            attempt.events = []
            state.absorb(attempt)
            attempt.end()
        return taken, results, events

    def _drop(self, pending: Pending, reason: str) -> None:
        self._pool.remove(pending.id, reason)
        self._admission.invalidate()

    def _held_at(self, tip: Candidate) -> set[bytes]:
        """The transactions in *tip* and in its undecided ancestors."""
        last = self._last()
        key = (tip.id, last.id)
        if self._held[0] != key:
            held: set[bytes] = set()
            block = tip
            while block.height > last.height:
                held.update(block.block.transaction_ids)
                block = self._ctx.get_block(block.parent_id)
            self._held = key, held
        return self._held[1]

    def _unbuildable_at(self, tip: Candidate) -> set[bytes]:
        """The waiting transactions that are invalid on top of *tip*."""
        key = (tip.id, self._last().id)
        if self._unbuildable[0] != key:
            self._unbuildable = key, set()
        return self._unbuildable[1]
