"""A chain of numbered entries with an index in SQLite, which can check itself."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

import vmsdk
from vmsdk import chain
from vmsdk.http import JSONRPC

# The receipts of so many blocks are compared: all of them would take long after many kills.
RECENT_BLOCKS = 20


class Index(chain.SQLiteFollower[chain.Block]):
    schema = "CREATE TABLE IF NOT EXISTS entries (height INTEGER, entry BLOB)"

    def add(self, db: sqlite3.Connection, block: chain.Block) -> None:
        db.executemany(
            "INSERT INTO entries VALUES (?, ?)", [(block.height, raw) for raw in block.transactions]
        )


class Ledger(chain.Chain):
    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> None:
        number = state.get_int(b"count")
        state[b"entry/" + number.to_bytes(8, "big")] = tx
        state.put_int(b"count", number + 1)
        state[b"last"] = tx
        state.emit("entry", tx)

    def followers(self) -> tuple[Index, ...]:
        self.index = Index(self.ctx.chain_data_dir / "index.db")
        return (self.index,)

    def create_handlers(self) -> dict[str, Any]:
        return {"": JSONRPC({"ledger": Service(self)})}


class Service:
    def __init__(self, vm: Ledger) -> None:
        self._vm = vm

    def submit(self, text: str) -> str:
        """Submit an entry; returns the transaction's ID."""
        return str(self._vm.submit(text.encode()))

    def audit(self) -> dict[str, Any]:
        """Compare state, receipts and index with the blocks; raises if they differ."""
        vm = self._vm
        expected: list[bytes] = []
        indexed: list[tuple[int, bytes]] = []
        parent_id = None
        for block in vm.feed.blocks(0, timeout=0):
            assert block.height == 0 or block.parent_id == parent_id, block.height
            parent_id = block.id
            expected += block.transactions
            indexed += [(block.height, raw) for raw in block.transactions]
            if block.height + RECENT_BLOCKS < vm.last.height:
                continue
            for index, (raw, transaction_id) in enumerate(
                zip(block.transactions, block.transaction_ids, strict=True)
            ):
                receipt = vm.receipt(transaction_id)
                assert (receipt.height, receipt.index) == (block.height, index), receipt
                assert [event.data for event in receipt.events] == [raw], receipt
        assert parent_id == vm.last.id, "the last accepted block is not the last block"
        with vm.snapshot() as state:
            stored = [value for _, value in state.scan(b"entry/")]
            assert stored == expected, f"{len(stored)} entries in the state, {len(expected)} in the blocks"
            assert state.get_int(b"count") == len(expected)
            assert state.get(b"last") == (expected[-1] if expected else None)
        recent = vm.events("entry", vm.last.height - RECENT_BLOCKS)
        assert [each.event.data for each in recent] == expected[len(expected) - len(recent) :]
        vm.index.wait_for(vm.last.height, timeout=60)
        with vm.index.read() as db:
            rows = db.execute("SELECT height, entry FROM entries ORDER BY rowid").fetchall()
        assert rows == indexed, f"{len(rows)} rows in the index, {len(indexed)} in the blocks"
        return {"height": vm.last.height, "entries": [raw.decode() for raw in expected]}


if __name__ == "__main__":
    vmsdk.serve(Ledger())
