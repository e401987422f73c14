"""A running chain of the VM that has every power, and what its service says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import jsonrpc
from .gohost import BUILD_BLOCK, Block, GoHost, Handlers

GENESIS = b"genesis"


class Chain:
    """A chain in normal operation."""

    def __init__(self, host: GoHost, plugin: Path, config: bytes = b"") -> None:
        self.host = host
        self.last = host.run(plugin, GENESIS, config)
        self.handlers: Handlers = host.create_handlers()

    def reset(self) -> None:
        """Forget everything but the accepted blocks, for the next test."""
        self.ask("forget")
        self.host.configure_sender()
        self.last = self.host.last_accepted()
        self.host.set_preference(self.last.id)

    def ask(self, method: str, **params: Any) -> Any:
        """Calls a method of the VM's service."""
        return jsonrpc.call(self.handlers, f"everything.{method}", "/rpc", **params)

    def propose(self, payload: bytes) -> None:
        """Gives the VM work."""
        self.ask("propose", payload=payload.hex())

    def decide(self, block: Block) -> Block:
        """Verifies, prefers and accepts."""
        self.host.verify(block.id)
        self.host.set_preference(block.id)
        return self.host.accept(block.id)

    def build(self, payload: bytes, p_chain_height: int | None = None) -> Block:
        """A block with this payload, after its event."""
        self.propose(payload)
        assert self.host.wait_for_event() == BUILD_BLOCK
        return self.host.build(p_chain_height)

    def accept(self, payload: bytes) -> Block:
        """A block with this payload, accepted."""
        return self.decide(self.build(payload))
