"""A chain with state sync and an index: each text fills 200 KB of the state."""

from __future__ import annotations

import hashlib
import sqlite3
from typing import Any

from vmsdk import chain
from vmsdk.http import JSONRPC

PAIRS = 100
VALUE_BYTES = 2_000
TIMEOUT_S = 30.0


class Index(chain.SQLiteFollower[chain.Block]):
    schema = "CREATE TABLE IF NOT EXISTS texts (text BLOB)"

    def add(self, db: sqlite3.Connection, block: chain.Block) -> None:
        db.executemany("INSERT INTO texts VALUES (?)", [(tx,) for tx in block.transactions])


class ArchiveVM(chain.SyncableChain):
    sync_every = 4

    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> None:
        for number in range(PAIRS):
            key = hashlib.sha256(tx + number.to_bytes(4, "big")).digest()
            state[key] = (key * VALUE_BYTES)[:VALUE_BYTES]

    def followers(self) -> tuple[Index, ...]:
        # A node that has synced lacks the blocks before.
        self.index = Index(self.ctx.chain_data_dir / "index.db")
        return (self.index,)

    def create_handlers(self) -> dict[str, Any]:
        return {"": JSONRPC({"submit": self.submit_text, "state": self.state, "indexed": self.indexed})}

    def submit_text(self, text: str) -> str:
        return str(self.submit(text.encode()))

    def state(self) -> dict[str, Any]:
        """The height, the heights of the stored blocks, and the SHA-256 of the state."""
        digest = hashlib.sha256()
        with self.snapshot() as state:
            for key, value in state.scan():
                digest.update(key + value)
        heights = [block.height for block in self.blocks()]
        return {"height": self.last.height, "blocks": heights, "digest": digest.hexdigest()}

    def indexed(self, height: int) -> int:
        """How many texts are in the index, once it has the block at *height*."""
        self.index.wait_for(height, TIMEOUT_S)
        with self.index.read() as db:
            return int(db.execute("SELECT count(*) FROM texts").fetchone()[0])
