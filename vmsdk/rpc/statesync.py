"""State sync: summaries given to peers and taken from them."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.errors import InvalidBlock, StateSyncNotImplemented
from vmsdk.rpc import answers, returned
from vmsdk.rpc.dispatch import Dispatcher, Handler
from vmsdk.rpc.errors import SENTINELS, sentinel_number
from vmsdk.rpc.session import Session
from vmsdk.statesync import StateSyncableVM, StateSyncMode


class StateSync:
    """The state sync methods, for VMs with that power and for those without."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def handlers(self) -> Iterator[Handler]:
        dispatch = Dispatcher(self._session)
        yield dispatch.engine(VM.StateSyncEnabled, self.state_sync_enabled)
        yield dispatch.engine(VM.GetOngoingSyncStateSummary, self.get_ongoing_sync_state_summary)
        yield dispatch.engine(VM.GetLastStateSummary, self.get_last_state_summary)
        yield dispatch.engine(VM.ParseStateSummary, self.parse_state_summary, answers=(InvalidBlock,))
        yield dispatch.engine(VM.GetStateSummary, self.get_state_summary)
        yield dispatch.engine(VM.StateSummaryAccept, self.accept)

    def state_sync_enabled(self, request: Empty) -> vm_pb2.StateSyncEnabledResponse:
        vm = self._session.vm
        if not isinstance(vm, StateSyncableVM):
            return vm_pb2.StateSyncEnabledResponse(enabled=False)
        try:
            return vm_pb2.StateSyncEnabledResponse(enabled=bool(vm.state_sync_enabled()))
        except SENTINELS as error:
            return vm_pb2.StateSyncEnabledResponse(err=sentinel_number(error))

    def get_ongoing_sync_state_summary(self, request: Empty) -> vm_pb2.GetOngoingSyncStateSummaryResponse:
        try:
            found = self._syncable().get_ongoing_sync_state_summary()
        except SENTINELS as error:
            return vm_pb2.GetOngoingSyncStateSummaryResponse(err=sentinel_number(error))
        summary = returned.summary("get_ongoing_sync_state_summary", found, "NotFound")
        return vm_pb2.GetOngoingSyncStateSummaryResponse(
            id=answers.own_id(summary), height=answers.height(summary), bytes=answers.content(summary)
        )

    def get_last_state_summary(self, request: Empty) -> vm_pb2.GetLastStateSummaryResponse:
        try:
            found = self._syncable().get_last_state_summary()
        except SENTINELS as error:
            return vm_pb2.GetLastStateSummaryResponse(err=sentinel_number(error))
        summary = returned.summary("get_last_state_summary", found, "NotFound")
        return vm_pb2.GetLastStateSummaryResponse(
            id=answers.own_id(summary), height=answers.height(summary), bytes=answers.content(summary)
        )

    def parse_state_summary(
        self, request: vm_pb2.ParseStateSummaryRequest
    ) -> vm_pb2.ParseStateSummaryResponse:
        try:
            found = self._syncable().parse_state_summary(request.bytes)
        except SENTINELS as error:
            return vm_pb2.ParseStateSummaryResponse(err=sentinel_number(error))
        summary = returned.summary("parse_state_summary", found, "InvalidBlock")
        return vm_pb2.ParseStateSummaryResponse(id=answers.own_id(summary), height=answers.height(summary))

    def get_state_summary(self, request: vm_pb2.GetStateSummaryRequest) -> vm_pb2.GetStateSummaryResponse:
        try:
            found = self._syncable().get_state_summary(request.height)
        except SENTINELS as error:
            return vm_pb2.GetStateSummaryResponse(err=sentinel_number(error))
        summary = returned.summary("get_state_summary", found, "NotFound")
        return vm_pb2.GetStateSummaryResponse(id=answers.own_id(summary), bytes=answers.content(summary))

    def accept(self, request: vm_pb2.StateSummaryAcceptRequest) -> vm_pb2.StateSummaryAcceptResponse:
        try:
            found = self._syncable().parse_state_summary(request.bytes)
            mode = StateSyncMode(returned.summary("parse_state_summary", found, "InvalidBlock").accept())
        except SENTINELS as error:
            return vm_pb2.StateSummaryAcceptResponse(
                mode=vm_pb2.StateSummaryAcceptResponse.MODE_SKIPPED, err=sentinel_number(error)
            )
        self._session.events.syncing(mode)
        return vm_pb2.StateSummaryAcceptResponse(mode=vm_pb2.StateSummaryAcceptResponse.Mode.ValueType(mode))

    def _syncable(self) -> StateSyncableVM:
        vm = self._session.vm
        if not isinstance(vm, StateSyncableVM):
            raise StateSyncNotImplemented
        return vm
