"""A chain that prunes while it accepts many blocks, one right after the other."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

import vmsdk
from vmsdk import chain

BLOCKS = 200


class Pruning(chain.Chain):
    limits = chain.Limits(blocks=10, receipts=10)

    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> None:
        state[b"last"] = tx

    def set_state(self, state: vmsdk.State) -> None:
        super().set_state(state)
        if state is vmsdk.State.NORMAL_OP and self.last.height == 0:
            self.submit(b"0")

    def on_accept(self, block: chain.Block) -> None:
        if block.height < BLOCKS:
            threading.Thread(target=self.submit, args=[b"%d" % block.height]).start()
        else:  # of the shadow, only errors are shown
            self.ctx.log.error("all blocks are here")


if __name__ == "__main__":
    vmsdk.serve(Pruning())
