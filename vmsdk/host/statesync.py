"""State sync, as a node drives it."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.block import check_id, is_not_found, sentinel
from vmsdk.host.engine import Engine
from vmsdk.host.errors import CallFailed
from vmsdk.ids import ID


@dataclass(frozen=True)
class Summary:
    """A state summary as a VM reports it to a node."""

    id: ID
    height: int
    raw: bytes


class StateSync:
    """Gets state summaries from a VM and makes it accept one. Methods raise like `Engine.call`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._client = engine.client

    def enabled(self) -> bool:
        """Whether the VM wants to sync its state. Any error is fatal."""
        response = self._engine.call(self._client.StateSyncEnabled, Empty(), fatal=True)
        if response.err in (pb.ERROR_UNSPECIFIED, pb.ERROR_STATE_SYNC_NOT_IMPLEMENTED):
            return response.enabled and not response.err
        raise self._engine.stop(sentinel("StateSyncEnabled", response.err))

    def ongoing(self) -> Summary | None:
        """Return the summary of an unfinished sync, or None. Any error is fatal."""
        method = "GetOngoingSyncStateSummary"
        response = self._engine.call(self._client.GetOngoingSyncStateSummary, Empty(), fatal=True)
        try:
            return self._summary(method, response.err, response.id, response.height, response.bytes)
        except CallFailed as error:
            raise self._engine.stop(error) from None

    def last(self) -> Summary | None:
        """Return the newest summary that the VM can offer to peers, or None."""
        response = self._engine.call(self._client.GetLastStateSummary, Empty())
        return self._summary(
            "GetLastStateSummary", response.err, response.id, response.height, response.bytes
        )

    def at(self, height: int) -> Summary | None:
        """Return the summary at *height*, or None."""
        response = self._engine.call(self._client.GetStateSummary, pb.GetStateSummaryRequest(height=height))
        return self._summary("GetStateSummary", response.err, response.id, height, response.bytes)

    def parse(self, data: bytes) -> Summary:
        """Parse a summary from a peer."""
        response = self._engine.call(self._client.ParseStateSummary, pb.ParseStateSummaryRequest(bytes=data))
        if response.err:
            raise sentinel("ParseStateSummary", response.err)
        return Summary(check_id("ParseStateSummary", response.id), response.height, data)

    def accept(self, summary: Summary) -> int:
        """Start the sync; returns a `StateSummaryAcceptResponse.Mode`. Any error is fatal."""
        request = pb.StateSummaryAcceptRequest(bytes=summary.raw)
        response = self._engine.call(self._client.StateSummaryAccept, request, fatal=True)
        if response.err:
            raise self._engine.stop(sentinel("StateSummaryAccept", response.err))
        return response.mode

    @staticmethod
    def _summary(method: str, error: int, summary_id: bytes, height: int, data: bytes) -> Summary | None:
        if is_not_found(method, error):
            return None
        return Summary(check_id(method, summary_id), height, data)
