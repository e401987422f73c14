"""The blocks of a chain as the engine sees them."""

from __future__ import annotations

from typing import Protocol

from vmsdk.block import Block as EngineBlock
from vmsdk.block import VerifyWithContext
from vmsdk.chain.block import Block
from vmsdk.chain.execution import Executed
from vmsdk.ids import ID
from vmsdk.timestamp import Timestamp


class Deciding(Protocol):
    """What a candidate needs from its chain."""

    def _verify(self, candidate: Candidate, p_chain_height: int | None) -> None: ...
    def _accept(self, candidate: Candidate) -> None: ...
    def _reject(self, candidate: Candidate) -> None: ...


class Candidate(EngineBlock):
    """A block that the engine verifies, then accepts or rejects."""

    def __init__(self, chain: Deciding, block: Block, executed: Executed | None = None) -> None:
        self.chain = chain
        self.block = block
        self.executed = executed
        """The result of its execution, from `verify` until the decision."""

    @property
    def id(self) -> ID:
        return self.block.id

    @property
    def parent_id(self) -> ID:
        return self.block.parent_id

    @property
    def height(self) -> int:
        return self.block.height

    @property
    def timestamp(self) -> Timestamp:
        return Timestamp.from_unix_ns(self.block.timestamp * 1_000_000)

    @property
    def raw(self) -> bytes:
        return self.block.raw

    def verify(self) -> None:
        self.chain._verify(self, None)

    def accept(self) -> None:
        self.chain._accept(self)

    def reject(self) -> None:
        self.chain._reject(self)


class ContextCandidate(Candidate, VerifyWithContext):
    """A block of a chain that builds at a P-chain height."""

    @property
    def should_verify_with_context(self) -> bool:
        return self.block.header.p_chain_height is not None

    def verify_with_context(self, p_chain_height: int) -> None:
        self.chain._verify(self, p_chain_height)
