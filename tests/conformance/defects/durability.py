"""Defects that restarts and kills bring to light."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from tests.conformance.goodvm import UNLIMITED, Block, GoodVM
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


class WritesAfterBootstrapping(GoodVM):
    """Blocks that are accepted while bootstrapping are written when normal operation begins."""

    found_by = "durability.bootstrapped-blocks-survive-a-kill"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.kept: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.kept[key] if key in self.kept else super().get(key)

    def write(self, puts: dict[bytes, bytes]) -> None:
        if self.state == pb.STATE_BOOTSTRAPPING:
            self.kept.update(puts)
        else:
            super().write(puts)

    def SetState(self, request: pb.SetStateRequest) -> pb.SetStateResponse:
        response = super().SetState(request)
        if request.state == pb.STATE_NORMAL_OP and self.kept:
            self.write(self.kept)
        return response


class HeightOffByOneAfterRestart(GoodVM):
    """Initialize counts the height of the tip once more, and SetState does not."""

    found_by = "durability.blocks-survive-a-restart"

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        response = super().Initialize(request)
        if response.height:
            response.height += 1
        return response


class RestartReportsNoBytes(GoodVM):
    """After a restart, Initialize and SetState know the tip's ID and height, but not its bytes."""

    found_by = "durability.blocks-survive-a-restart"
    restarted = False

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        self.database = grpc.insecure_channel(request.db_server_addr, UNLIMITED)
        self.restarted = self.get(b"last") is not None
        self.database.close()
        return super().Initialize(request)

    def last_accepted_fields(self) -> dict[str, Any]:
        fields = super().last_accepted_fields()
        return {**fields, "bytes": b""} if self.restarted else fields


class AncestorsOnlyInMemory(GoodVM):
    """GetAncestors knows the blocks that were accepted since the start."""

    found_by = "durability.blocks-survive-a-restart"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.recent: dict[bytes, Block] = {}

    def accept(self, block: Block) -> None:
        super().accept(block)
        self.recent[block.id] = block

    def GetAncestors(self, request: pb.GetAncestorsRequest) -> pb.GetAncestorsResponse:
        if request.blk_id not in self.recent and request.blk_id not in self.undecided:
            return pb.GetAncestorsResponse()
        return super().GetAncestors(request)
