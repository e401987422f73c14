"""A chain that never builds a block: its transactions wait."""

from __future__ import annotations

from typing import Any

from vmsdk import ID, chain
from vmsdk.http import JSONRPC


class WaitingVM(chain.Chain):
    """Any transaction is valid."""

    def execute(self, state: chain.State, tx: bytes, block: chain.Header) -> None:
        state[tx] = b""

    def has_pending_work(self) -> bool:
        return False

    def create_handlers(self) -> dict[str, Any]:
        return {"": JSONRPC({"submit": self.submit_text, "waiting": self.waiting})}

    def submit_text(self, text: str) -> ID:
        return self.submit(text.encode())

    def waiting(self) -> list[str]:
        """All transactions in the mempool."""
        return [pending.raw.decode() for pending in self.pool.all()]
