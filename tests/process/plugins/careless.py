"""VMs that work alone but not in a network. The genesis names the defect."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "timestamp"))

from timestampvm import TimestampBlock, TimestampVM

import vmsdk

PADDING = 2 * 1024 * 1024 - 1_000


class CarelessBlock(TimestampBlock):
    vm: CarelessVM

    def verify(self) -> None:
        if self.vm.defect == "writes in verify":
            self.vm.ctx.db[b"half done"] = self.raw
        if self.vm.defect == "knows only its own" and self.id not in self.vm.built:
            raise vmsdk.InvalidBlock("its state root is wrong")
        if self.vm.defect != "heights by seven":
            super().verify()

    def accept(self) -> None:
        self.vm.store(self)
        if self.vm.defect != "works for ever":
            self.vm.mempool.pop(self.data, None)


class CarelessVM(TimestampVM):
    def initialize(self, ctx: vmsdk.Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        self.defect = genesis.decode()
        self.built: set[vmsdk.ID] = set()
        super().initialize(ctx, b"", upgrade, config)

    def store(self, block: TimestampBlock) -> None:
        if self.defect != "forgets" or not block.height:
            super().store(block)
        if self.defect == "stores no blocks" and block.height > 1:
            del self.ctx.db[block.parent_id]
        self.last = block

    def get_block_id_at_height(self, height: int) -> vmsdk.ID:
        if self.defect == "no height index":
            raise vmsdk.NotFound
        if self.defect == "forgets":
            return self.last.id
        return super().get_block_id_at_height(height)

    def parse_block(self, data: bytes) -> TimestampBlock:
        raw, data = data, data[:80]
        block = super().parse_block(data)
        fields: dict[str, Any] = {
            field.name: getattr(block, field.name) for field in dataclasses.fields(TimestampBlock)
        }
        careless = CarelessBlock(**fields)
        careless.__dict__["raw"] = raw
        return careless

    def build_block(self) -> TimestampBlock:
        built = super().build_block()
        if self.defect == "heights by seven":
            built = dataclasses.replace(built, height=built.height + 6)
        block = self.parse_block(built.raw + bytes(PADDING if self.defect == "big blocks" else 0))
        self.built.add(block.id)
        return block


if __name__ == "__main__":
    vmsdk.serve(CarelessVM())
