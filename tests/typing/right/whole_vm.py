"""A VM as the guide shows it, with what its methods get and give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from typing_extensions import assert_type, override

import vmsdk


@dataclass
class Count(vmsdk.Block):
    vm: Counter
    parent_id: vmsdk.ID
    height: int

    timestamp = 0

    @property
    def id(self) -> vmsdk.ID:
        return vmsdk.ID.of(self.raw)

    @property
    def raw(self) -> bytes:
        return self.parent_id + self.height.to_bytes(8, "big")

    @override
    def verify(self) -> None:
        parent = self.vm.ctx.get_block(self.parent_id)
        assert_type(parent, Any)  # the very objects of the author
        if self.height != parent.height + 1:
            raise vmsdk.InvalidBlock(f"height {self.height} on a parent of height {parent.height}")

    @override
    def accept(self) -> None:
        with self.vm.ctx.db.batch() as batch:
            batch.put(self.id, self.raw)
            batch.put(b"last accepted", self.id)


class Counter(vmsdk.ChainVM):
    name = "counter"
    version = "1.0.0"

    ctx: vmsdk.Context

    @override
    def initialize(self, ctx: vmsdk.Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        self.ctx = ctx
        assert_type(ctx.db.get(b"last accepted"), bytes | None)
        assert_type(ctx.db.get(b"last accepted", b""), bytes)
        assert_type(ctx.db[b"last accepted"], bytes)
        assert_type(ctx.db.get_many([b"a", b"b"]), list[bytes | None])
        with ctx.db.iterate(prefix=b"account/") as accounts:
            for key, value in accounts:
                assert_type(key, bytes)
                assert_type(value, bytes)
        ctx.log.info("chain %s of %s", ctx.chain_id, ctx.subnet_id)
        ctx.notify()

    @override
    def last_accepted(self) -> vmsdk.ID:
        return vmsdk.ID(self.ctx.db[b"last accepted"])

    @override
    def get_block(self, block_id: vmsdk.ID) -> Count:
        return self.parse_block(self.ctx.db[block_id])

    @override
    def parse_block(self, data: bytes) -> Count:
        return Count(self, vmsdk.ID(data[:32]), int.from_bytes(data[32:], "big"))

    @override
    def build_block(self) -> Count:
        raise vmsdk.NothingToBuild

    @override
    def set_preference(self, block_id: vmsdk.ID) -> None: ...

    @override
    def get_block_id_at_height(self, height: int) -> vmsdk.ID:
        raise vmsdk.NotFound(f"no block at height {height}")

    @override
    def create_handlers(self) -> Mapping[str, Any]:
        return {"/rpc": object()}

    @override
    def app_request(
        self, node_id: vmsdk.NodeID, request_id: int, deadline: vmsdk.Timestamp, request: bytes
    ) -> bytes | None:
        raise vmsdk.AppError(1, "not now")


if __name__ == "__main__":
    vmsdk.serve(Counter())
