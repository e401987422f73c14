"""A chain of short texts that anyone can write and read."""

from __future__ import annotations

from typing import Any

import vmsdk
from vmsdk import chain
from vmsdk.http import JSONRPC


class GuestBook(chain.Chain):
    version = "1.0.0"

    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> None:
        if not 1 <= len(tx) <= 140:
            raise chain.Invalid("an entry has 1 to 140 bytes", length=len(tx))
        count = state.get_int(b"count")
        state[b"entry/" + count.to_bytes(8, "big")] = tx
        state.put_int(b"count", count + 1)

    def create_handlers(self) -> dict[str, Any]:
        return {"": JSONRPC({"write": self.write, "read": self.read})}

    def write(self, text: str) -> vmsdk.ID:
        return self.submit(text.encode())

    def read(self, start: int = 0, limit: int = 50) -> list[str]:
        with self.snapshot() as state:
            first = min(max(start, 0), 2**64 - 1).to_bytes(8, "big")
            entries = state.scan(b"entry/", start=first, limit=min(max(limit, 0), 100))
            return [text.decode(errors="replace") for _, text in entries]


if __name__ == "__main__":
    vmsdk.serve(GuestBook())
