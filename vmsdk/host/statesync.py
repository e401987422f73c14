"""The state sync calls of a VM."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host import answers
from vmsdk.host.engine import Engine
from vmsdk.host.errors import CallFailed
from vmsdk.ids import ID


@dataclass(frozen=True)
class Summary:
    """A state summary as a VM tells a node about it."""

    id: ID
    height: int
    raw: bytes


class StateSync:
    """Asks for state summaries and has them accepted. Everything raises as `Engine.call` does."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._client = engine.client

    def enabled(self) -> bool:
        """Whether the VM wants to sync its state. An error stops the chain before it starts."""
        answer = self._engine.call(self._client.StateSyncEnabled, Empty(), fatal=True)
        if answer.err in (pb.ERROR_UNSPECIFIED, pb.ERROR_STATE_SYNC_NOT_IMPLEMENTED):
            return answer.enabled and not answer.err
        raise self._engine.stop(answers.sentinel("StateSyncEnabled", answer.err))

    def ongoing(self) -> Summary | None:
        """The summary of an unfinished sync; None if there is none. Any error is fatal."""
        method = "GetOngoingSyncStateSummary"
        answer = self._engine.call(self._client.GetOngoingSyncStateSummary, Empty(), fatal=True)
        try:
            return self._summary(method, answer.err, answer.id, answer.height, answer.bytes)
        except CallFailed as error:
            raise self._engine.stop(error) from None

    def last(self) -> Summary | None:
        """The newest summary that the VM can serve to peers, or None."""
        answer = self._engine.call(self._client.GetLastStateSummary, Empty())
        return self._summary("GetLastStateSummary", answer.err, answer.id, answer.height, answer.bytes)

    def at(self, height: int) -> Summary | None:
        """The summary at *height*, or None."""
        answer = self._engine.call(self._client.GetStateSummary, pb.GetStateSummaryRequest(height=height))
        return self._summary("GetStateSummary", answer.err, answer.id, height, answer.bytes)

    def parse(self, data: bytes) -> Summary:
        """The summary that a peer has sent."""
        answer = self._engine.call(self._client.ParseStateSummary, pb.ParseStateSummaryRequest(bytes=data))
        if answer.err:
            raise answers.sentinel("ParseStateSummary", answer.err)
        return Summary(answers.block_id("ParseStateSummary", answer.id), answer.height, data)

    def accept(self, summary: Summary) -> int:
        """Start the sync; the mode, a number of `StateSummaryAcceptResponse.Mode`. Any error is fatal."""
        request = pb.StateSummaryAcceptRequest(bytes=summary.raw)
        answer = self._engine.call(self._client.StateSummaryAccept, request, fatal=True)
        if answer.err:
            raise self._engine.stop(answers.sentinel("StateSummaryAccept", answer.err))
        return answer.mode

    @staticmethod
    def _summary(method: str, error: int, summary_id: bytes, height: int, data: bytes) -> Summary | None:
        if answers.is_not_found(method, error):
            return None
        return Summary(answers.block_id(method, summary_id), height, data)
