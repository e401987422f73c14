"""Defects that restarts and kills bring to light."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from tests.conformance.goodvm import Block, GoodVM
from vmsdk._pb.vm import vm_pb2 as pb


class GenesisIsWrittenOnlyOnce(GoodVM):
    """A restart before the first block finds no genesis: only its height was stored."""

    found_by = "durability.genesis-survives-a-restart"

    def writes(self, block: Block) -> dict[bytes, bytes]:
        puts = super().writes(block)
        if not block.height:
            self.undecided[block.id] = block
            del puts[b"block" + block.id]
        return puts


class LastAcceptedIsNotPersisted(GoodVM):
    """A restart begins at genesis."""

    found_by = "durability.blocks-survive-a-restart"

    def writes(self, block: Block) -> dict[bytes, bytes]:
        puts = super().writes(block)
        if block.height:
            del puts[b"last"]
        return puts


class FirstWriteWins(GoodVM):
    """A batch keeps the first of two writes to a key."""

    found_by = "durability.blocks-survive-a-restart"

    def writes(self, block: Block) -> dict[bytes, bytes]:
        # The batch wrote the parent first, then the block.
        return {**super().writes(block), **({b"last": block.parent_id} if block.height else {})}


class WritesInShutdown(GoodVM):
    """Accepted blocks are written when the VM shuts down."""

    found_by = "durability.blocks-survive-a-kill"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.waiting: dict[bytes, bytes] = {}

    def write(self, puts: dict[bytes, bytes]) -> None:
        if self.state:
            self.waiting.update(puts)
        else:
            super().write(puts)

    def get(self, key: bytes) -> bytes | None:
        return self.waiting.get(key) or super().get(key)

    def Shutdown(self, request: Empty) -> Empty:
        if self.waiting:
            super().write(self.waiting)
        return super().Shutdown(request)


class VerifyMovesTheTip(GoodVM):
    """A verified block is the last accepted one after a kill."""

    found_by = "durability.undecided-blocks-are-forgotten"

    def verify(self, block: Block) -> None:
        super().verify(block)
        self.write({b"last": block.id, b"block" + block.id: block.raw})


class StateIsWrittenInVerify(GoodVM):
    """A verified block's transactions count as accepted after a kill."""

    found_by = "durability.undecided-blocks-are-forgotten"

    def verify(self, block: Block) -> None:
        super().verify(block)
        self.write({b"transaction" + transaction: b"" for transaction in block.transactions})


class PreferenceIsTheTip(GoodVM):
    """SetPreference moves the stored tip."""

    found_by = "durability.rejected-blocks-are-forgotten"

    def accept(self, block: Block) -> None:
        super().accept(block)
        if block.height:
            self.write({b"last": self.preferred})

    def SetPreference(self, request: pb.SetPreferenceRequest) -> Empty:
        response = super().SetPreference(request)
        preferred = self.find(request.id)
        if preferred is not None:
            self.write({b"block" + preferred.id: preferred.raw})
        return response
