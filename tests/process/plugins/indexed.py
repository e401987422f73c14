"""A chain of texts with an index in the chain's data directory."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

import vmsdk
from vmsdk import chain
from vmsdk.chain.block import Block, Header
from vmsdk.http import JSONRPC


class Index(chain.SQLiteFollower[Block]):
    schema = "CREATE TABLE IF NOT EXISTS texts (text BLOB)"

    def add(self, db: sqlite3.Connection, block: Block) -> None:
        db.executemany("INSERT INTO texts VALUES (?)", [(tx,) for tx in block.transactions])


class IndexedVM(chain.Chain):
    version = "1.0.0"

    def execute(self, state: chain.State, tx: Any, block: Header) -> None:
        state[tx[:32]] = b""

    def followers(self) -> Iterable[chain.Follower[Block]]:
        self.index = Index(self.ctx.chain_data_dir / "index.db")
        return [self.index]

    def create_handlers(self) -> dict[str, Any]:
        return {"": JSONRPC("texts", self.Service(self))}

    class Service:
        def __init__(self, vm: IndexedVM) -> None:
            self._vm = vm

        def submit(self, text: str) -> None:
            self._vm.submit(text.encode())

        def wait(self, height: int) -> int:
            """How many texts are indexed, once the index has that height."""
            self._vm.index.wait_for(height, 50.0)
            with self._vm.index.read() as db:
                return int(db.execute("SELECT count(*) FROM texts").fetchone()[0])


vmsdk.serve(IndexedVM())
