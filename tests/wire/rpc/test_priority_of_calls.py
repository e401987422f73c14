"""HTTP gives way to a call of the engine from the moment when it arrives."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty

from tests.wire.rpc.conftest import Serve, eventually, refused
from tests.wire.rpc.plainvm import PlainVM
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.ids import NodeID

PEER = NodeID(bytes([7]) * 20)
PATIENCE_S = 60.0


def test_a_call_of_the_engine_is_announced_before_it_begins(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def parse_block(data: bytes) -> Any:
        events.append("begun")
        return PlainVM.parse_block(vm, data)

    vm = PlainVM(parse_block=parse_block)
    served = serve(vm)
    monkeypatch.setattr(served.session.priority, "announce", lambda: events.append("announced"))
    refused(lambda: served.client.ParseBlock(pb.ParseBlockRequest(bytes=b"no block")))
    assert events == ["announced", "begun"]
    served.client.SetState(pb.SetStateRequest(state=pb.STATE_NORMAL_OP))
    assert events[2:] == ["announced"]


def test_a_call_that_may_wait_is_not(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    announced: list[None] = []
    served = serve(PlainVM(has_pending_work=lambda: True))
    monkeypatch.setattr(served.session.priority, "announce", lambda: announced.append(None))
    assert served.client.WaitForEvent(Empty()).message == pb.MESSAGE_BUILD_BLOCK
    served.client.AppGossip(pb.AppGossipMsg(node_id=bytes(20)))
    served.client.Gather(Empty())
    assert served.client.Health(Empty()).details
    assert announced == []


def test_http_gives_way_to_no_handler_of_messages_that_only_waits(serve: Serve) -> None:
    began, release = threading.Event(), threading.Event()

    def app_gossip(node_id: NodeID, message: bytes) -> None:
        began.set()
        assert release.wait(PATIENCE_S)

    served = serve(PlainVM(app_gossip=app_gossip))
    call = served.client.AppGossip.start(pb.AppGossipMsg(node_id=PEER, msg=b"psst"))
    assert began.wait(PATIENCE_S)
    # It is the engine's turn for a moment, too, when a thread reads what else the node sends.
    eventually(lambda: not served.session.priority._is_engines_turn())
    release.set()
    call.result(PATIENCE_S)
