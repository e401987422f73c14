"""A chain with state sync, whose transactions store many keys.

`archive.py PROTOCOL EVERY KEYS VALUE_BYTES`: each block holds one transaction, which stores KEYS
keys with values of VALUE_BYTES; a checkpoint is due every EVERY blocks. The configuration says
up to which height the plugin submits a transaction for each block.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

import vmsdk
from vmsdk import chain
from vmsdk.chain.block import BLOCK_OVERHEAD_BYTES, TRANSACTION_OVERHEAD_BYTES
from vmsdk.state import State

PROTOCOL, EVERY, KEYS, VALUE_BYTES = map(int, sys.argv[1:])
TX_BYTES = 8


class Archive(chain.SyncableChain):
    sync_every = EVERY
    limits = chain.Limits(
        block_bytes=BLOCK_OVERHEAD_BYTES + TRANSACTION_OVERHEAD_BYTES + TX_BYTES, transaction_bytes=TX_BYTES
    )

    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> None:
        if len(tx) != TX_BYTES:
            raise chain.Invalid("a transaction has 8 bytes", length=len(tx))
        for number in range(KEYS):
            key = hashlib.sha256(tx + number.to_bytes(4, "big")).digest()
            state[key] = (key * (VALUE_BYTES // 32 + 1))[:VALUE_BYTES]

    def set_state(self, phase: State) -> None:
        super().set_state(phase)
        if phase is State.NORMAL_OP and self.last.height == 0:
            self.submit_next(0)

    def on_accept(self, block: chain.Block) -> None:
        self.submit_next(block.height)

    def submit_next(self, height: int) -> None:
        if height < int(self.config or b"0"):
            self.submit(height.to_bytes(TX_BYTES, "big"))


if __name__ == "__main__":
    vmsdk.serve(Archive(), protocol_version=PROTOCOL)
