"""State sync over the wire, of VMs with that power and without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

import vmsdk
from vmsdk._pb.vm import vm_pb2 as pb

from .conftest import Serve, Served, refused
from .plainvm import PlainVM

MODES = pb.StateSummaryAcceptResponse


@dataclass
class Summary(vmsdk.StateSummary):
    height: int
    mode: vmsdk.StateSyncMode = vmsdk.StateSyncMode.STATIC
    fail: Exception | None = None
    accepted: list[int] = field(default_factory=list)

    @cached_property
    def raw(self) -> bytes:
        return b"summary%d" % self.height

    @cached_property
    def id(self) -> vmsdk.ID:
        return vmsdk.ID.of(self.raw)

    def accept(self) -> vmsdk.StateSyncMode:
        if self.fail is not None:
            raise self.fail
        self.accepted.append(self.height)
        return self.mode


class SyncableVM(PlainVM, vmsdk.StateSyncableVM):
    def __init__(self) -> None:
        super().__init__()
        self.summaries = {height: Summary(height) for height in (10, 20)}
        self.ongoing: Summary | Exception = vmsdk.NotFound("no sync")

    def state_sync_enabled(self) -> bool:
        return True

    def get_ongoing_sync_state_summary(self) -> Summary:
        if isinstance(self.ongoing, Exception):
            raise self.ongoing
        return self.ongoing

    def get_last_state_summary(self) -> Summary:
        if not self.summaries:
            raise vmsdk.NotFound("none yet")
        return self.summaries[max(self.summaries)]

    def parse_state_summary(self, data: bytes) -> Summary:
        for summary in self.summaries.values():
            if summary.raw == data:
                return summary
        raise vmsdk.InvalidBlock("no summary")

    def get_state_summary(self, height: int) -> Summary:
        if height not in self.summaries:
            raise vmsdk.NotFound(f"none at {height}")
        return self.summaries[height]


CALLS: dict[str, Callable[[Served], Any]] = {
    "GetOngoingSyncStateSummary": lambda served: served.client.GetOngoingSyncStateSummary(Empty()),
    "GetLastStateSummary": lambda served: served.client.GetLastStateSummary(Empty()),
    "ParseStateSummary": lambda served: served.client.ParseStateSummary(
        pb.ParseStateSummaryRequest(bytes=b"x")
    ),
    "GetStateSummary": lambda served: served.client.GetStateSummary(pb.GetStateSummaryRequest(height=1)),
}


@pytest.mark.parametrize("method", CALLS)
def test_edge_66_a_vm_without_state_sync_says_so_by_number(serve: Serve, method: str) -> None:
    answer = CALLS[method](serve(PlainVM()))
    assert answer == type(answer)(err=pb.ERROR_STATE_SYNC_NOT_IMPLEMENTED)


def test_edge_66_a_vm_without_state_sync_is_not_enabled_and_accepts_nothing(serve: Serve) -> None:
    served = serve(PlainVM())
    assert served.client.StateSyncEnabled(Empty()) == pb.StateSyncEnabledResponse()
    answer = served.client.StateSummaryAccept(pb.StateSummaryAcceptRequest(bytes=b"x"))
    assert (answer.mode, answer.err) == (MODES.MODE_SKIPPED, pb.ERROR_STATE_SYNC_NOT_IMPLEMENTED)


def test_a_vm_with_state_sync_gives_its_summaries(serve: Serve) -> None:
    vm = SyncableVM()
    served = serve(vm)
    newest = vm.summaries[20]
    assert served.client.StateSyncEnabled(Empty()).enabled
    last = served.client.GetLastStateSummary(Empty())
    assert (last.id, last.height, last.bytes, last.err) == (newest.id, 20, newest.raw, 0)
    parsed = served.client.ParseStateSummary(pb.ParseStateSummaryRequest(bytes=newest.raw))
    assert (parsed.id, parsed.height) == (newest.id, 20)
    found = served.client.GetStateSummary(pb.GetStateSummaryRequest(height=10))
    assert (found.id, found.bytes) == (vm.summaries[10].id, b"summary10")
    vm.ongoing = vm.summaries[10]
    ongoing = served.client.GetOngoingSyncStateSummary(Empty())
    assert (ongoing.id, ongoing.height, ongoing.bytes) == (vm.summaries[10].id, 10, b"summary10")


def test_edge_67_none_is_a_number_and_anything_else_an_error(serve: Serve) -> None:
    vm = SyncableVM()
    served = serve(vm)
    assert served.client.GetOngoingSyncStateSummary(Empty()).err == pb.ERROR_NOT_FOUND
    vm.ongoing = RuntimeError("half a summary")
    assert refused(lambda: served.client.GetOngoingSyncStateSummary(Empty())) == (
        grpc.StatusCode.UNKNOWN,
        "RuntimeError: half a summary",
    )
    assert served.client.GetStateSummary(pb.GetStateSummaryRequest(height=5)).err == pb.ERROR_NOT_FOUND
    vm.summaries.clear()
    assert served.client.GetLastStateSummary(Empty()).err == pb.ERROR_NOT_FOUND


@pytest.mark.parametrize("method", CALLS)
def test_a_method_that_returns_no_summary_is_named(serve: Serve, method: str) -> None:
    vm = SyncableVM()
    served = serve(vm)
    for name in ("get_ongoing_sync_state_summary", "get_last_state_summary", "parse_state_summary"):
        setattr(vm, name, lambda *_: None)
    vm.get_state_summary = lambda height: None  # type: ignore[method-assign, assignment, return-value]
    text = refused(lambda: CALLS[method](served))[1]
    assert "_summary returned None: it must return a vmsdk.StateSummary, or raise " in text


def test_a_summary_that_the_node_would_refuse_is_named(serve: Serve) -> None:
    vm = SyncableVM()
    served = serve(vm)
    vars(vm.summaries[20])["id"] = b"short"
    text = refused(lambda: served.client.GetLastStateSummary(Empty()))[1]
    assert text == "Summary.id is 5 bytes: it must be 32 bytes, an ID"


def test_what_is_not_a_summary_is_an_error(serve: Serve) -> None:
    served = serve(SyncableVM())
    text = refused(lambda: served.client.ParseStateSummary(pb.ParseStateSummaryRequest(bytes=b"?")))[1]
    assert text == "no summary"


@pytest.mark.parametrize("mode", list(vmsdk.StateSyncMode))
def test_the_mode_of_an_accepted_summary_is_told(serve: Serve, mode: vmsdk.StateSyncMode) -> None:
    vm = SyncableVM()
    vm.summaries[20].mode = mode
    served = serve(vm)
    answer = served.client.StateSummaryAccept(pb.StateSummaryAcceptRequest(bytes=vm.summaries[20].raw))
    assert (int(answer.mode), answer.err) == (int(mode), 0)
    assert vm.summaries[20].accepted == [20]


def test_a_fault_of_accept_is_an_error(serve: Serve) -> None:
    vm = SyncableVM()
    vm.summaries[20].fail = RuntimeError("no peers")
    served = serve(vm)
    request = pb.StateSummaryAcceptRequest(bytes=vm.summaries[20].raw)
    assert refused(lambda: served.client.StateSummaryAccept(request))[1] == "RuntimeError: no peers"
    vm.summaries[20].fail = vmsdk.Closed()
    answer = served.client.StateSummaryAccept(request)
    assert (answer.mode, answer.err) == (MODES.MODE_SKIPPED, pb.ERROR_CLOSED)
