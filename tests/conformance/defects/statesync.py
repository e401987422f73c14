"""Defects in state sync."""

from __future__ import annotations

import hashlib
import os

import grpc
from google.protobuf.empty_pb2 import Empty

from tests.conformance.goodvm import Block, GoodVM
from vmsdk._pb.vm import vm_pb2 as pb

MAGIC = b"summary"
STATIC = pb.StateSummaryAcceptResponse.MODE_STATIC


class SyncingVM(GoodVM):
    """A correct VM with state sync: a summary is an accepted block, and peers are not needed."""

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.synced = False

    def summary(self, data: bytes) -> Block:
        if not data.startswith(MAGIC):
            raise ValueError("not a summary")
        return self.parse(data.removeprefix(MAGIC))

    @staticmethod
    def summary_id(data: bytes) -> bytes:
        return hashlib.sha256(data).digest()

    def at_height(self, height: int) -> bytes | None:
        block_id = self.get(b"height" + height.to_bytes(8, "big")) if height else None
        block = None if block_id is None else self.find(block_id)
        return None if block is None else MAGIC + block.raw

    def StateSyncEnabled(self, request: Empty) -> pb.StateSyncEnabledResponse:
        return pb.StateSyncEnabledResponse(enabled=True)

    def GetOngoingSyncStateSummary(self, request: Empty) -> pb.GetOngoingSyncStateSummaryResponse:
        return pb.GetOngoingSyncStateSummaryResponse(err=pb.ERROR_NOT_FOUND)

    def GetLastStateSummary(self, request: Empty) -> pb.GetLastStateSummaryResponse:
        height = self.tip().height
        data = self.at_height(height)
        if data is None:
            return pb.GetLastStateSummaryResponse(err=pb.ERROR_NOT_FOUND)
        return pb.GetLastStateSummaryResponse(id=self.summary_id(data), height=height, bytes=data)

    def ParseStateSummary(self, request: pb.ParseStateSummaryRequest) -> pb.ParseStateSummaryResponse:
        height = self.summary(request.bytes).height
        return pb.ParseStateSummaryResponse(id=self.summary_id(request.bytes), height=height)

    def GetStateSummary(self, request: pb.GetStateSummaryRequest) -> pb.GetStateSummaryResponse:
        data = self.at_height(request.height)
        if data is None:
            return pb.GetStateSummaryResponse(err=pb.ERROR_NOT_FOUND)
        return pb.GetStateSummaryResponse(id=self.summary_id(data), bytes=data)

    def StateSummaryAccept(self, request: pb.StateSummaryAcceptRequest) -> pb.StateSummaryAcceptResponse:
        self.accept(self.summary(request.bytes))
        self.synced = True
        self.changed()
        return pb.StateSummaryAcceptResponse(mode=STATIC)

    def SetState(self, request: pb.SetStateRequest) -> pb.SetStateResponse:
        self.synced = False
        return super().SetState(request)

    def has_work(self) -> bool:
        return self.synced or super().has_work()

    def WaitForEvent(self, request: Empty, context: grpc.ServicerContext) -> pb.WaitForEventResponse:
        response = super().WaitForEvent(request, context)
        if self.synced:
            response.message = pb.MESSAGE_STATE_SYNC_FINISHED
        return response


class StateSyncIsUnimplemented(GoodVM):
    """StateSyncEnabled is an error."""

    found_by = "statesync.enabled-is-reported"

    def StateSyncEnabled(self, request: Empty) -> pb.StateSyncEnabledResponse:
        raise NotImplementedError("state sync")


class NoStateSyncAsError(GoodVM):
    """A VM without state sync fails ParseStateSummary."""

    found_by = "statesync.unsupported-is-reported"

    def ParseStateSummary(self, request: pb.ParseStateSummaryRequest) -> pb.ParseStateSummaryResponse:
        raise NotImplementedError("state sync")


class AcceptsASummaryWithoutStateSync(GoodVM):
    """A VM without state sync reports a static sync."""

    found_by = "statesync.unsupported-is-reported"

    def StateSummaryAccept(self, request: pb.StateSummaryAcceptRequest) -> pb.StateSummaryAcceptResponse:
        return pb.StateSummaryAcceptResponse(mode=STATIC, err=pb.ERROR_STATE_SYNC_NOT_IMPLEMENTED)


class NoOngoingSyncAsError(SyncingVM):
    """GetOngoingSyncStateSummary fails if there is none."""

    found_by = "statesync.missing-summaries-are-not-found"

    def GetOngoingSyncStateSummary(self, request: Empty) -> pb.GetOngoingSyncStateSummaryResponse:
        raise ValueError("not found")


class UnknownSummaryAsEmpty(SyncingVM):
    """GetStateSummary returns no error and no bytes for an unknown height."""

    found_by = "statesync.missing-summaries-are-not-found"

    def GetStateSummary(self, request: pb.GetStateSummaryRequest) -> pb.GetStateSummaryResponse:
        response = super().GetStateSummary(request)
        response.err = pb.ERROR_UNSPECIFIED
        return response


class AnySummaryParses(SyncingVM):
    """ParseStateSummary takes any bytes."""

    found_by = "statesync.garbage-is-refused"

    def summary(self, data: bytes) -> Block:
        return self.tip()


class DiesOfASummary(SyncingVM):
    """A peer's bytes end the process."""

    found_by = "statesync.garbage-is-refused"

    def summary(self, data: bytes) -> Block:
        if not data.startswith(MAGIC):
            os._exit(1)
        return super().summary(data)


class SummaryIDsDiffer(SyncingVM):
    """ParseStateSummary gives a summary another ID than GetLastStateSummary."""

    found_by = "statesync.summaries-parse-back"

    def ParseStateSummary(self, request: pb.ParseStateSummaryRequest) -> pb.ParseStateSummaryResponse:
        response = super().ParseStateSummary(request)
        response.id = self.summary(request.bytes).id
        return response


class ModeZero(SyncingVM):
    """StateSummaryAccept sets no mode."""

    found_by = "statesync.accepted-summary-is-synced"

    def StateSummaryAccept(self, request: pb.StateSummaryAcceptRequest) -> pb.StateSummaryAcceptResponse:
        super().StateSummaryAccept(request)
        return pb.StateSummaryAcceptResponse()


class SyncDoesNotMoveTheTip(SyncingVM):
    """SetState after a sync reports genesis."""

    found_by = "statesync.accepted-summary-is-synced"

    def StateSummaryAccept(self, request: pb.StateSummaryAcceptRequest) -> pb.StateSummaryAcceptResponse:
        genesis = self.last_accepted
        response = super().StateSummaryAccept(request)
        self.last_accepted = genesis
        return response


class SyncFinishesOnce(SyncingVM):
    """The end of a sync is reported once, whether the node hears it or not."""

    found_by = "statesync.accepted-summary-is-synced"

    def WaitForEvent(self, request: Empty, context: grpc.ServicerContext) -> pb.WaitForEventResponse:
        response = super().WaitForEvent(request, context)
        self.synced = False
        return response


class SyncIsLostWhenKilled(SyncingVM):
    """The synced block is the last accepted one only in memory."""

    found_by = "statesync.accepted-summary-is-synced"

    def StateSummaryAccept(self, request: pb.StateSummaryAcceptRequest) -> pb.StateSummaryAcceptResponse:
        genesis = self.last_accepted
        response = super().StateSummaryAccept(request)
        self.write({b"last": genesis})
        return response


class LastSummaryAtAnyHeight(SyncingVM):
    """GetStateSummary returns the last summary whatever the height."""

    found_by = "statesync.summaries-are-found-by-their-height"

    def at_height(self, height: int) -> bytes | None:
        return super().at_height(self.tip().height)
