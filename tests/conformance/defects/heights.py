"""Defects in the height index."""

from __future__ import annotations

import struct

from tests.conformance.goodvm import HEADER, Block, GoodVM
from vmsdk._pb.vm import vm_pb2 as pb


class HeightIndexIsAbsent(GoodVM):
    """GetBlockIDAtHeight finds nothing."""

    found_by = "heights.genesis-is-found"

    def GetBlockIDAtHeight(self, request: pb.GetBlockIDAtHeightRequest) -> pb.GetBlockIDAtHeightResponse:
        return pb.GetBlockIDAtHeightResponse(err=pb.ERROR_NOT_FOUND)


class HeightNotFoundAsError(GoodVM):
    """A height above the tip is an error."""

    found_by = "heights.heights-above-the-tip-are-not-found"

    def GetBlockIDAtHeight(self, request: pb.GetBlockIDAtHeightRequest) -> pb.GetBlockIDAtHeightResponse:
        response = super().GetBlockIDAtHeight(request)
        if response.err:
            raise ValueError("not found")
        return response


class HeightNotFoundAsEmptyID(GoodVM):
    """A height above the tip gives no error and no ID."""

    found_by = "heights.heights-above-the-tip-are-not-found"

    def GetBlockIDAtHeight(self, request: pb.GetBlockIDAtHeightRequest) -> pb.GetBlockIDAtHeightResponse:
        response = super().GetBlockIDAtHeight(request)
        response.err = pb.ERROR_UNSPECIFIED
        return response


class HeightsBySevens(GoodVM):
    """Heights are 7, 14, 21."""

    found_by = "heights.heights-are-consecutive"

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        response = super().BuildBlock(request)
        height, seconds, parent_id = HEADER.unpack_from(response.bytes)
        raw = HEADER.pack(height + 6, seconds, parent_id) + response.bytes[HEADER.size :]
        response.bytes, response.id, response.height = raw, self.parse(raw).id, height + 6
        return response

    def verify(self, block: Block) -> None:
        self.undecided[block.id] = block


class HeightIndexOnlyInMemory(GoodVM):
    """The height index is lost in a restart."""

    found_by = "durability.blocks-survive-a-restart"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.heights: dict[int, bytes] = {}

    def accept(self, block: Block) -> None:
        super().accept(block)
        self.heights[block.height] = block.id

    def GetBlockIDAtHeight(self, request: pb.GetBlockIDAtHeightRequest) -> pb.GetBlockIDAtHeightResponse:
        if request.height and request.height not in self.heights:
            return pb.GetBlockIDAtHeightResponse(err=pb.ERROR_NOT_FOUND)
        return super().GetBlockIDAtHeight(request)


class HeightOfUndecidedBlocks(GoodVM):
    """The height index has a block from its verification on."""

    found_by = "heights.undecided-blocks-are-not-found"

    def verify(self, block: Block) -> None:
        super().verify(block)
        self.write({b"height" + struct.pack(">Q", block.height): block.id})


class HeightIndexIsLate(GoodVM):
    """A block gets into the height index when the next one is accepted."""

    found_by = "heights.accepted-blocks-are-found"

    def writes(self, block: Block) -> dict[bytes, bytes]:
        puts = super().writes(block)
        if block.height:
            del puts[b"height" + struct.pack(">Q", block.height)]
            puts[b"height" + struct.pack(">Q", block.height - 1)] = block.parent_id
        return puts


class RejectionDeletesTheHeight(GoodVM):
    """BlockReject removes what the height index has at the block's height."""

    found_by = "heights.rejected-blocks-change-no-height"

    def reject(self, block: Block) -> None:
        self.write({b"height" + struct.pack(">Q", block.height): b""})

    def GetBlockIDAtHeight(self, request: pb.GetBlockIDAtHeightRequest) -> pb.GetBlockIDAtHeightResponse:
        response = super().GetBlockIDAtHeight(request)
        return response if response.blk_id else pb.GetBlockIDAtHeightResponse(err=pb.ERROR_NOT_FOUND)
