"""A chain whose rules see the P-chain's height."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

import vmsdk
from vmsdk import chain
from vmsdk.http import JSONRPC


class Epochs(chain.Chain, vmsdk.BuildBlockWithContext):
    """Stores the height at which each text was written."""

    version = "1.0.0"

    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> bytes:
        state[tx] = result = str(block.p_chain_height).encode()
        return result

    def create_handlers(self) -> dict[str, Any]:
        return {"": JSONRPC({"write": self.write, "heights": self.heights})}

    def write(self, text: str) -> str:
        return str(self.submit(text.encode()))

    def heights(self) -> dict[str, str]:
        with self.snapshot() as state:
            return {text.decode(): height.decode() for text, height in state.scan(limit=100)}


if __name__ == "__main__":
    vmsdk.serve(Epochs(), protocol_version=int(sys.argv[1]) if len(sys.argv) > 1 else None)
