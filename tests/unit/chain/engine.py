"""The node's part of a chain, in this process: builds, verifies, prefers and decides blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vmsdk.chain.limits import Limits
from vmsdk.context import Context
from vmsdk.database import Database
from vmsdk.memorydb import MemoryDatabase
from vmsdk.rpc.blockmemory import BlockMemory
from vmsdk.state import State


class Engine:
    """Drives *vm* by the same memory of blocks as a node's calls do."""

    def __init__(
        self,
        vm: Any,
        database: Database | None = None,
        genesis: bytes = b"genesis",
        *,
        begins: bool = True,
        **surroundings: Any,
    ) -> None:
        self.vm = vm
        self.database = MemoryDatabase() if database is None else database
        self.memory = BlockMemory(vm)
        self.notified = 0
        vm.ctx = Context(db=self.database, chain=self.memory, notify=self._notify, **surroundings)
        vm.initialize(vm.ctx, genesis, b"", b"")
        if vm._builder._limits.build_seconds == Limits.build_seconds:
            # A block has all that fits, however busy the machine is.
            vm._builder._limits = replace(vm._builder._limits, build_seconds=60)
        if begins:
            self.begin()

    def begin(self) -> None:
        """Enter normal operation, as after bootstrapping."""
        self.last: Any = self.memory.load_last_accepted()
        self.memory.preferred_id = self.last.id
        self.vm.set_state(State.NORMAL_OP)

    def _notify(self) -> None:
        self.notified += 1

    def build(self) -> Any:
        """Build a block and verify it, as the node that builds it does."""
        block = self.vm.build_block()
        self.memory.remember_parsed(block.raw, block)
        return self.verify(block.raw)

    def verify(self, raw: bytes) -> Any:
        """Parse and verify a block, as for one from a peer."""
        block_id, block = self.memory.resolve(raw)
        try:
            block.verify()
        except Exception:
            self.memory.refused(block_id)
            raise
        self.memory.remember_verified(block_id, block)
        return block

    def prefer(self, block: Any) -> None:
        self.memory.preferred_id = block.id

    def accept(self, block: Any) -> list[Any]:
        """Accept a block on the last accepted one, and reject what conflicts with it."""
        assert block.parent_id == self.last.id
        undecided = [other for other in self.memory.processing if other is not block]
        block.accept()
        self.memory.accepted(block.id, block)
        self.last = block
        rejected: list[Any] = []
        for other in undecided:
            if self._conflicts(other):
                rejected.append(other)
        for other in rejected:
            other.reject()
            self.memory.forget(other.id)
        if self.memory.verified(self.memory.preferred.id) is None:
            self.memory.preferred_id = self.last.id
        return rejected

    def _conflicts(self, block: Any) -> bool:
        while block.height > self.last.height:
            parent = self.memory.verified(block.parent_id)
            if parent is None:
                return bool(block.parent_id != self.last.id)
            block = parent
        return True

    def produce(self) -> Any:
        """Build, verify, prefer and accept one block."""
        block = self.build()
        self.prefer(block)
        self.accept(block)
        return block

    def stop(self) -> None:
        self.vm.shutdown()
