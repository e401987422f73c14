"""Mistakes in VMs. Each line that is wrong names mypy's error in a comment."""

from __future__ import annotations

import vmsdk


class AsyncVM(vmsdk.ChainVM):
    async def last_accepted(self) -> vmsdk.ID:  # E: override
        return vmsdk.ID.EMPTY

    def get_block(self, block_id: vmsdk.ID) -> None:  # E: override
        return None

    def initialise(self, ctx: vmsdk.Context) -> None: ...


vmsdk.serve(AsyncVM())  # E: abstract
vmsdk.serve(AsyncVM)  # E: arg-type
vmsdk.Sever  # E: attr-defined


def use(ctx: vmsdk.Context) -> None:
    ctx.network_id = 1  # E: misc
    ctx.db.put("key", b"value")  # E: arg-type
    ctx.db.get(b"key").hex()  # E: union-attr
    ctx.get_block("2JVSBoinj9C2J33VntvzYtVJNZdN2NKiwwKjcumHUWEb5DbBrm")  # E: arg-type
    vmsdk.NodeID(vmsdk.ID.EMPTY.hex())  # E: arg-type
    vmsdk.AppError("refused", 1)  # E: arg-type # E: arg-type
    raise vmsdk.InvalidBlock  # E: call-arg
