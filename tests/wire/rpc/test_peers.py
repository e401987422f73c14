"""Peers over the wire: no fault of a handler, whoever caused it, stops the chain."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp as TimestampMessage

import vmsdk
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.appsender import SentError, SentResponse
from vmsdk.ids import NodeID
from vmsdk.timestamp import MAX_SECONDS

from .conftest import Serve, Served, refused
from .plainvm import PlainVM

PEER = NodeID(bytes([7]) * 20)
PATIENCE_S = 60.0

MESSAGES: dict[str, tuple[str, Any]] = {
    "connected": ("Connected", pb.ConnectedRequest(node_id=PEER, name="avalanchego", major=1, minor=14)),
    "disconnected": ("Disconnected", pb.DisconnectedRequest(node_id=PEER)),
    "app_request": (
        "AppRequest",
        pb.AppRequestMsg(
            node_id=PEER, request_id=1, request=b"?", deadline=TimestampMessage(seconds=5, nanos=6)
        ),
    ),
    "app_request_failed": ("AppRequestFailed", pb.AppRequestFailedMsg(node_id=PEER, request_id=1)),
    "app_response": ("AppResponse", pb.AppResponseMsg(node_id=PEER, request_id=1, response=b"!")),
    "app_gossip": ("AppGossip", pb.AppGossipMsg(node_id=PEER, msg=b"psst")),
}


def send(served: Served, handler: str) -> Empty:
    method, message = MESSAGES[handler]
    answer: Empty = getattr(served.client, method)(message)
    return answer


def raising(error: BaseException) -> Callable[..., Any]:
    def handle(*_: object) -> None:
        raise error

    return handle


@pytest.mark.parametrize("error", [RuntimeError("bad byte"), SystemExit(1), vmsdk.NotFound("x")])
@pytest.mark.parametrize("handler", MESSAGES)
def test_a_fault_of_a_handler_does_not_fail_the_call_and_is_logged_once_and_counted(
    serve: Serve, handler: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve(PlainVM(**{handler: raising(error)}))
    for _ in range(3):
        send(served, handler)
    assert sum(record.exc_info is not None for record in caplog.records) == 1
    assert served.session.faults.counts() == {handler: 3}


def test_edge_59_a_request_whose_handler_fails_is_answered_with_an_application_error(serve: Serve) -> None:
    served = serve(PlainVM(app_request=raising(RuntimeError("bad byte"))))
    send(served, "app_request")
    sent = served.services.app_sender.wait_for(SentError)
    assert (sent.party, sent.request_id, sent.code, sent.message) == (PEER, 1, -1, "unexpected error")


def test_edge_59_a_request_without_a_deadline_has_one_that_never_comes(serve: Serve) -> None:
    deadlines: list[vmsdk.Timestamp] = []

    def app_request(node_id: NodeID, request_id: int, deadline: vmsdk.Timestamp, request: bytes) -> None:
        deadlines.append(deadline)

    served = serve(PlainVM(app_request=app_request))
    send(served, "app_request")
    served.client.AppRequest(pb.AppRequestMsg(node_id=PEER, request_id=2))
    assert deadlines == [vmsdk.Timestamp(5, 6), vmsdk.Timestamp(MAX_SECONDS)]


def test_bytes_returned_by_a_handler_are_the_response(serve: Serve) -> None:
    served = serve(PlainVM(app_request=lambda *_: b"pong"))
    send(served, "app_request")
    sent = served.services.app_sender.wait_for(SentResponse)
    assert (sent.party, sent.request_id, sent.response) == (PEER, 1, b"pong")


@pytest.mark.parametrize("response", ["text", 7, bytearray(b"pong")], ids=repr)
def test_a_response_that_is_not_bytes_becomes_an_application_error(serve: Serve, response: object) -> None:
    served = serve(PlainVM(app_request=lambda *_: response))
    send(served, "app_request")
    sent = served.services.app_sender.wait_for(SentError)
    assert (sent.request_id, sent.code, sent.message) == (1, -1, "unexpected error")
    assert served.session.faults.counts() == {"app_request": 1}


@pytest.mark.parametrize(
    "refusal",
    [vmsdk.AppError(2**31, "too big a code"), vmsdk.AppError(1, "lone \udcff"), vmsdk.AppError(1, 7)],  # type: ignore[arg-type]
    ids=repr,
)
def test_a_refusal_that_cannot_be_sent_is_answered_with_another(
    serve: Serve, refusal: vmsdk.AppError
) -> None:
    served = serve(PlainVM(app_request=raising(refusal)))
    send(served, "app_request")
    sent = served.services.app_sender.wait_for(SentError)
    assert (sent.request_id, sent.code, sent.message) == (1, -1, "unexpected error")


def test_an_author_may_refuse_a_request(serve: Serve) -> None:
    served = serve(PlainVM(app_request=raising(vmsdk.AppError(42, "not today"))))
    send(served, "app_request")
    sent = served.services.app_sender.wait_for(SentError)
    assert (sent.code, sent.message) == (42, "not today")
    assert served.session.faults.counts() == {}


def test_a_vm_without_handlers_refuses_requests_and_ignores_the_rest(serve: Serve) -> None:
    served = serve(PlainVM())
    for handler in MESSAGES:
        send(served, handler)
    sent = served.services.app_sender.wait_for(SentError)
    assert (sent.code, sent.message) == (-2, "unregistered handler")
    assert served.session.faults.counts() == {}


@pytest.mark.parametrize("handler", MESSAGES)
def test_an_author_may_stop_the_chain_on_purpose(serve: Serve, handler: str) -> None:
    served = serve(PlainVM(**{handler: raising(vmsdk.Fatal("the state is corrupt"))}))
    assert refused(lambda: send(served, handler))[1] == "the state is corrupt"


@pytest.mark.parametrize("handler", MESSAGES)
def test_a_node_id_of_another_length_is_an_error(serve: Serve, handler: str) -> None:
    served = serve(PlainVM())
    method, message = MESSAGES[handler]
    bad = type(message)()
    bad.CopyFrom(message)
    bad.node_id = bytes(19)
    text = refused(lambda: getattr(served.client, method)(bad))[1]
    assert text == "invalid hash length: expected 20 bytes but got 19"


def test_edge_60_the_code_of_a_failed_request_is_signed(serve: Serve) -> None:
    errors: list[vmsdk.AppError] = []
    served = serve(PlainVM(app_request_failed=lambda node_id, request_id, error: errors.append(error)))
    request = pb.AppRequestFailedMsg(node_id=PEER, request_id=3, error_code=-1, error_message="timed out")
    # sint32: -1 is one byte on the wire, the zig-zag 1.
    assert b"\x18\x01" in request.SerializeToString()
    served.client.AppRequestFailed(request)
    assert [(error.code, error.message) for error in errors] == [(vmsdk.AppError.TIMED_OUT, "timed out")]


def test_connects_tell_who_and_what_the_peer_is(serve: Serve) -> None:
    seen: list[tuple[NodeID, str]] = []
    served = serve(PlainVM(connected=lambda node_id, version: seen.append((node_id, str(version)))))
    send(served, "connected")
    assert seen == [(PEER, "avalanchego/1.14.0")]


def test_edge_65_slow_messages_block_neither_each_other_nor_the_engine(serve: Serve) -> None:
    both = threading.Barrier(3)
    served = serve(PlainVM(app_gossip=lambda *_: [None, both.wait(PATIENCE_S)][0]))
    method, message = MESSAGES["app_gossip"]
    waiting = [getattr(served.client, method).start(message) for _ in range(2)]
    block = served.vm.child()  # type: ignore[attr-defined]
    served.client.BlockVerify(pb.BlockVerifyRequest(bytes=block.raw))
    both.wait(PATIENCE_S)
    for call in waiting:
        call.result(PATIENCE_S)
    assert served.session.faults.counts() == {}


def test_messages_before_initialize_and_after_shutdown_are_dropped(serve: Serve) -> None:
    served = serve(PlainVM(app_gossip=raising(RuntimeError("not now"))), run=False)
    send(served, "app_gossip")
    served.initialize()
    served.client.Shutdown(Empty())
    send(served, "app_gossip")
    assert served.session.faults.counts() == {}


# Other chains of the same node, until protocol 36 -------------------------------------------------

CHAIN = b"\x05" * 32


class NeighbourVM(PlainVM, vmsdk.CrossChainVM):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, Any]] = []

    def cross_chain_app_request(
        self, chain_id: vmsdk.ID, request_id: int, deadline: vmsdk.Timestamp, request: bytes
    ) -> bytes | None:
        if request == b"bad":
            raise RuntimeError("bad byte")
        return request + b"!"

    def cross_chain_app_request_failed(
        self, chain_id: vmsdk.ID, request_id: int, error: vmsdk.AppError
    ) -> None:
        self.heard.append(("failed", error.code))

    def cross_chain_app_response(self, chain_id: vmsdk.ID, request_id: int, response: bytes) -> None:
        self.heard.append(("response", response))


def test_until_protocol_36_other_chains_can_ask(serve: Serve) -> None:
    vm = NeighbourVM()
    served = serve(vm, 36)
    served.client.CrossChainAppRequest(
        pb.CrossChainAppRequestMsg(chain_id=CHAIN, request_id=1, request=b"hi")
    )
    sent = served.services.app_sender.wait_for(SentResponse)
    assert sent.response == b"hi!"
    served.client.CrossChainAppRequest(
        pb.CrossChainAppRequestMsg(chain_id=CHAIN, request_id=2, request=b"bad")
    )
    assert served.services.app_sender.wait_for(SentError).code == -1
    served.client.CrossChainAppRequestFailed(
        pb.CrossChainAppRequestFailedMsg(chain_id=CHAIN, request_id=3, error_code=-1)
    )
    served.client.CrossChainAppResponse(
        pb.CrossChainAppResponseMsg(chain_id=CHAIN, request_id=4, response=b"r")
    )
    assert vm.heard == [("failed", -1), ("response", b"r")]


def test_a_vm_without_that_power_refuses_other_chains(serve: Serve) -> None:
    served = serve(PlainVM(), 36)
    served.client.CrossChainAppRequest(pb.CrossChainAppRequestMsg(chain_id=CHAIN, request_id=1))
    served.client.CrossChainAppRequestFailed(pb.CrossChainAppRequestFailedMsg(chain_id=CHAIN, request_id=1))
    served.client.CrossChainAppResponse(pb.CrossChainAppResponseMsg(chain_id=CHAIN, request_id=1))
    assert served.services.app_sender.wait_for(SentError).code == -2
    assert served.session.faults.counts() == {}
