"""Defects in GetAncestors."""

from __future__ import annotations

from tests.conformance.goodvm import GoodVM
from vmsdk._pb.vm import vm_pb2 as pb

UNLIMITED = 2**31 - 1


class UnknownAncestorsAsError(GoodVM):
    """GetAncestors of an unknown block fails."""

    found_by = "ancestors.unknown-block-has-none"

    def GetAncestors(self, request: pb.GetAncestorsRequest) -> pb.GetAncestorsResponse:
        if self.find(request.blk_id) is None:
            raise ValueError("not found")
        return super().GetAncestors(request)


class OldestAncestorFirst(GoodVM):
    """GetAncestors begins with genesis."""

    found_by = "ancestors.newest-comes-first"

    def GetAncestors(self, request: pb.GetAncestorsRequest) -> pb.GetAncestorsResponse:
        return pb.GetAncestorsResponse(blks_bytes=reversed(super().GetAncestors(request).blks_bytes))


class AncestorsWithoutTheBlock(GoodVM):
    """GetAncestors begins with the parent."""

    found_by = "ancestors.newest-comes-first"

    def GetAncestors(self, request: pb.GetAncestorsRequest) -> pb.GetAncestorsResponse:
        return pb.GetAncestorsResponse(blks_bytes=super().GetAncestors(request).blks_bytes[1:])


class IgnoresTheAncestorCount(GoodVM):
    """GetAncestors has no limit of blocks."""

    found_by = "ancestors.count-is-limited"

    def GetAncestors(self, request: pb.GetAncestorsRequest) -> pb.GetAncestorsResponse:
        request.max_blocks_num = UNLIMITED
        return super().GetAncestors(request)


class IgnoresTheAncestorSize(GoodVM):
    """GetAncestors has no limit of bytes."""

    found_by = "ancestors.size-is-limited"

    def GetAncestors(self, request: pb.GetAncestorsRequest) -> pb.GetAncestorsResponse:
        request.max_blocks_size = UNLIMITED
        return super().GetAncestors(request)


class ForgetsTheAncestorOverhead(GoodVM):
    """GetAncestors counts the bytes of blocks only, without 4 more for each."""

    found_by = "ancestors.size-is-limited"

    def GetAncestors(self, request: pb.GetAncestorsRequest) -> pb.GetAncestorsResponse:
        request.max_blocks_size += 4 * 3
        return super().GetAncestors(request)


class NothingWithoutRoom(GoodVM):
    """GetAncestors returns not even the block when its limits are used up."""

    found_by = "ancestors.first-block-is-returned-always"

    def GetAncestors(self, request: pb.GetAncestorsRequest) -> pb.GetAncestorsResponse:
        if request.max_blocks_size <= 0 or request.max_blocks_retrival_time <= 0:
            return pb.GetAncestorsResponse()
        return super().GetAncestors(request)


class AncestorTimeInSeconds(GoodVM):
    """GetAncestors takes its time limit for seconds."""

    found_by = "ancestors.time-is-in-nanoseconds"

    def GetAncestors(self, request: pb.GetAncestorsRequest) -> pb.GetAncestorsResponse:
        request.max_blocks_retrival_time = min(request.max_blocks_retrival_time * 10**9, 2**62)
        return super().GetAncestors(request)


class AncestorsOfAcceptedBlocksOnly(GoodVM):
    """GetAncestors does not know verified blocks."""

    found_by = "ancestors.undecided-blocks-have-ancestors"

    def GetAncestors(self, request: pb.GetAncestorsRequest) -> pb.GetAncestorsResponse:
        if request.blk_id in self.undecided:
            return pb.GetAncestorsResponse()
        return super().GetAncestors(request)


class AncestorsByHeight(GoodVM):
    """GetAncestors looks up the blocks below in the height index, which has accepted ones only."""

    found_by = "ancestors.undecided-blocks-have-ancestors"

    def GetAncestors(self, request: pb.GetAncestorsRequest) -> pb.GetAncestorsResponse:
        response = super().GetAncestors(request)
        raws = [raw for raw in response.blks_bytes[1:] if self.parse(raw).id not in self.undecided]
        return pb.GetAncestorsResponse(blks_bytes=[*response.blks_bytes[:1], *raws])
