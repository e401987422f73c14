"""State sync: summaries for peers and from peers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.errors import InvalidBlock, InvalidInput, StateSyncNotImplemented
from vmsdk.rpc import conversion
from vmsdk.rpc.dispatch import Dispatcher, Handler
from vmsdk.rpc.errors import SENTINELS, sentinel_number
from vmsdk.rpc.session import Session
from vmsdk.statesync import StateSyncableVM, StateSyncMode

ResponseT = TypeVar("ResponseT")


class StateSync:
    """The state sync methods, for VMs that implement `StateSyncableVM` and for those that don't."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def handlers(self) -> Iterator[Handler]:
        dispatch = Dispatcher(self._session)
        yield dispatch.engine(VM.StateSyncEnabled, self.state_sync_enabled)
        yield dispatch.engine(VM.GetOngoingSyncStateSummary, self.get_ongoing_sync_state_summary)
        yield dispatch.engine(VM.GetLastStateSummary, self.get_last_state_summary)
        yield dispatch.engine(
            VM.ParseStateSummary, self.parse_state_summary, expected=(InvalidBlock, InvalidInput)
        )
        yield dispatch.engine(VM.GetStateSummary, self.get_state_summary)
        yield dispatch.engine(VM.StateSummaryAccept, self.accept)

    def state_sync_enabled(self, request: Empty) -> vm_pb2.StateSyncEnabledResponse:
        vm = self._session.vm
        if not isinstance(vm, StateSyncableVM):
            return vm_pb2.StateSyncEnabledResponse(enabled=False)
        try:
            enabled = conversion.truth("state_sync_enabled", vm.state_sync_enabled())
            return vm_pb2.StateSyncEnabledResponse(enabled=enabled)
        except SENTINELS as error:
            return vm_pb2.StateSyncEnabledResponse(err=sentinel_number(error))

    def get_ongoing_sync_state_summary(self, request: Empty) -> vm_pb2.GetOngoingSyncStateSummaryResponse:
        return self._found(vm_pb2.GetOngoingSyncStateSummaryResponse, "get_ongoing_sync_state_summary")

    def get_last_state_summary(self, request: Empty) -> vm_pb2.GetLastStateSummaryResponse:
        return self._found(vm_pb2.GetLastStateSummaryResponse, "get_last_state_summary")

    def _found(self, response: Callable[..., ResponseT], method: str) -> ResponseT:
        """The *response* with the summary that the VM's *method* returns."""
        try:
            found = getattr(self._syncable(), method)()
        except SENTINELS as error:
            return response(err=sentinel_number(error))
        summary = conversion.summary(method, found)
        return response(
            id=conversion.own_id(summary),
            height=conversion.height(summary),
            bytes=conversion.content(summary),
        )

    def parse_state_summary(
        self, request: vm_pb2.ParseStateSummaryRequest
    ) -> vm_pb2.ParseStateSummaryResponse:
        try:
            found = self._syncable().parse_state_summary(request.bytes)
        except SENTINELS as error:
            return vm_pb2.ParseStateSummaryResponse(err=sentinel_number(error))
        summary = conversion.summary("parse_state_summary", found, "InvalidBlock")
        return vm_pb2.ParseStateSummaryResponse(
            id=conversion.own_id(summary), height=conversion.height(summary)
        )

    def get_state_summary(self, request: vm_pb2.GetStateSummaryRequest) -> vm_pb2.GetStateSummaryResponse:
        try:
            method = self._syncable().get_state_summary
            found = conversion.found("get_state_summary", method, request.height)
        except SENTINELS as error:
            return vm_pb2.GetStateSummaryResponse(err=sentinel_number(error))
        summary = conversion.summary("get_state_summary", found)
        if summary.height != request.height:
            what = f"get_state_summary({request.height}) returned a summary whose height is"
            raise conversion.unusable(what, summary.height, f"be {request.height}, or raise NotFound")
        return vm_pb2.GetStateSummaryResponse(
            id=conversion.own_id(summary), bytes=conversion.content(summary)
        )

    def accept(self, request: vm_pb2.StateSummaryAcceptRequest) -> vm_pb2.StateSummaryAcceptResponse:
        try:
            found = self._syncable().parse_state_summary(request.bytes)
            summary = conversion.summary("parse_state_summary", found, "InvalidBlock")
            height = conversion.height(summary)
            mode: object = summary.accept()
        except SENTINELS as error:
            return vm_pb2.StateSummaryAcceptResponse(
                mode=vm_pb2.StateSummaryAcceptResponse.MODE_SKIPPED, err=sentinel_number(error)
            )
        # A mode's number will do, but True does not mean SKIPPED.
        if isinstance(mode, bool) or not isinstance(mode, int) or mode not in list(StateSyncMode):
            kind = type(summary).__name__
            raise conversion.unusable(f"{kind}.accept returned", mode, "return a vmsdk.StateSyncMode")
        mode = StateSyncMode(mode)
        self._session.events.syncing(mode)
        self._session.checks_storage = mode is not StateSyncMode.DYNAMIC
        text = "state sync to height %d: %s%s"
        until = ", until ctx.state_sync_finished()" if mode is StateSyncMode.STATIC else ""
        self._session.log.info(text, height, mode.name, until)
        return vm_pb2.StateSummaryAcceptResponse(mode=vm_pb2.StateSummaryAcceptResponse.Mode.ValueType(mode))

    def _syncable(self) -> StateSyncableVM:
        vm = self._session.vm
        if not isinstance(vm, StateSyncableVM):
            raise StateSyncNotImplemented
        return vm
