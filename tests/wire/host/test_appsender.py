"""The service `appsender.AppSender`, over the wire, with a VM in this process and peers that the
test plays.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from queue import Empty as NothingCame
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from tests.process.plugins.bare_vm import BareVM
from tests.wire.host.rawstub import DEADLINE_S, RawStub, error_of
from vmsdk._pb._service import Service
from vmsdk._pb.appsender import appsender_pb2 as pb
from vmsdk._pb.appsender.appsender_grpc import AppSender
from vmsdk._pb.vm import vm_pb2
from vmsdk.errors import AppError
from vmsdk.host.appnetwork import Peer, PeerRequest
from vmsdk.host.appsender import SentError, SentGossip, SentRequest, SentResponse
from vmsdk.host.chain import Chain
from vmsdk.host.errors import ChainFatal
from vmsdk.ids import ID, NodeID

UNKNOWN = grpc.StatusCode.UNKNOWN
StartChain = Callable[..., Chain]
MakeStub = Callable[[str, type[Service]], RawStub]


def node(number: int) -> NodeID:
    return NodeID(bytes(19) + bytes([number]))


def count(reached: SimpleQueue[int], number: int, message: bytes) -> None:
    reached.put(number)


class ListeningVM(BareVM):
    """Keeps the application messages that reach it."""

    def __init__(self) -> None:
        super().__init__()
        self.received: SimpleQueue[Any] = SimpleQueue()

        for name in ("Request", "Response", "RequestFailed", "Gossip"):
            setattr(self, f"App{name}", self._keep)
            setattr(self, f"CrossChainApp{name}", self._keep)

    def _keep(self, message: Any) -> Empty:
        self.received.put(message)
        return Empty()

    def next(self) -> Any:
        return self.received.get(timeout=DEADLINE_S)

    def expect_nothing_more(self) -> None:
        with pytest.raises(NothingCame):
            self.received.get_nowait()


@pytest.fixture
def vm() -> ListeningVM:
    return ListeningVM()


@pytest.fixture
def start(vm: ListeningVM, start_chain: StartChain) -> Callable[..., Chain]:
    def start(version: int = 45, **fields: Any) -> Chain:
        chain = start_chain(vm, version, **fields)
        chain.start()
        return chain

    return start


@pytest.fixture
def chain(start: Callable[..., Chain]) -> Chain:
    return start()


@pytest.fixture
def sender(chain: Chain, stub: MakeStub) -> RawStub:
    return stub(chain.services.address, AppSender)


def request(*node_ids: bytes, request_id: int = 1, data: bytes = b"?") -> pb.SendAppRequestMsg:
    return pb.SendAppRequestMsg(node_ids=node_ids, request_id=request_id, request=data)


def test_a_peers_response_reaches_the_vm(chain: Chain, vm: ListeningVM, sender: RawStub) -> None:
    def answer(asked: PeerRequest) -> None:
        asked.respond(asked.data + b"!")

    chain.connect(Peer(node(1), on_request=answer))
    sender.SendAppRequest(request(node(1), request_id=7, data=b"hello"))
    assert vm.next() == vm_pb2.AppResponseMsg(node_id=node(1), request_id=7, response=b"hello!")


def test_a_peers_refusal_reaches_the_vm(chain: Chain, vm: ListeningVM, sender: RawStub) -> None:
    chain.connect(Peer(node(1), on_request=lambda asked: asked.fail(-4, "throttled")))
    sender.SendAppRequest(request(node(1)))
    assert vm.next() == vm_pb2.AppRequestFailedMsg(
        node_id=node(1), request_id=1, error_code=-4, error_message="throttled"
    )


def test_each_distinct_node_of_a_request_gives_one_response(
    chain: Chain, vm: ListeningVM, sender: RawStub
) -> None:
    for number in (1, 2):
        chain.connect(Peer(node(number), on_request=lambda asked: asked.respond(b"")))
    sender.SendAppRequest(request(node(1), node(2), node(1)))
    assert {vm.next().node_id, vm.next().node_id} == {node(1), node(2)}
    chain.services.network.close()
    chain.services.network.join()
    vm.expect_nothing_more()


def test_only_the_first_response_of_a_peer_counts(chain: Chain, vm: ListeningVM, sender: RawStub) -> None:
    def answer_twice(asked: PeerRequest) -> None:
        asked.respond(b"first")
        asked.respond(b"second")
        asked.fail(1, "third")

    chain.connect(Peer(node(1), on_request=answer_twice))
    sender.SendAppRequest(request(node(1)))
    assert vm.next().response == b"first"
    chain.services.network.respond(node(1), 1, b"unsolicited")
    sender.SendAppRequest(request(node(2), request_id=2))
    assert vm.next().request_id == 2


@pytest.mark.parametrize("why", ["unknown", "disconnected", "too large"])
def test_an_unsendable_request_fails_promptly_with_timed_out(
    start: Callable[..., Chain], vm: ListeningVM, stub: MakeStub, why: str
) -> None:
    chain = start(app_timeout_s=3_600)
    if why != "unknown":
        chain.connect(Peer(node(1)))
    if why == "disconnected":
        chain.disconnect(node(1))
    data = bytes(2 * 1024 * 1024 + 1) if why == "too large" else b"?"
    stub(chain.services.address, AppSender).SendAppRequest(request(node(1), data=data))
    assert vm.next() == vm_pb2.AppRequestFailedMsg(
        node_id=node(1), request_id=1, error_code=-1, error_message="timed out"
    )


def test_a_silent_peer_fails_the_request_after_the_timeout(
    start: Callable[..., Chain], vm: ListeningVM, stub: MakeStub
) -> None:
    chain = start(app_timeout_s=0.2)
    late: SimpleQueue[PeerRequest] = SimpleQueue()
    chain.connect(Peer(node(1), on_request=late.put))
    began = time.monotonic()
    stub(chain.services.address, AppSender).SendAppRequest(request(node(1)))
    failed = vm.next()
    assert (failed.error_code, failed.error_message) == (-1, "timed out")
    assert time.monotonic() - began >= 0.2
    late.get(timeout=DEADLINE_S).respond(b"too late")
    chain.services.network.gossip(node(1), b"next")
    assert vm.next() == vm_pb2.AppGossipMsg(node_id=node(1), msg=b"next")


def test_a_request_to_oneself_is_looped_back(chain: Chain, vm: ListeningVM, sender: RawStub) -> None:
    own = chain.config.identity.node_id
    sender.SendAppRequest(request(own, request_id=3, data=b"me?"))
    asked = vm.next()
    assert (asked.node_id, asked.request_id, asked.request) == (own, 3, b"me?")
    sender.SendAppResponse(pb.SendAppResponseMsg(node_id=own, request_id=3, response=b"me."))
    assert vm.next() == vm_pb2.AppResponseMsg(node_id=own, request_id=3, response=b"me.")


def test_a_peer_asks_the_vm_and_gets_its_response(chain: Chain, vm: ListeningVM, sender: RawStub) -> None:
    answer = chain.services.network.request(node(1), b"ping", timeout_s=3_600)
    asked = vm.next()
    assert (asked.node_id, asked.request) == (node(1), b"ping")
    assert 0 < asked.deadline.ToNanoseconds() - time.time_ns() <= 3_600e9
    sender.SendAppResponse(
        pb.SendAppResponseMsg(node_id=node(1), request_id=asked.request_id, response=b"pong")
    )
    assert answer.result(DEADLINE_S) == b"pong"


def test_a_peer_asks_the_vm_and_gets_its_error(chain: Chain, vm: ListeningVM, sender: RawStub) -> None:
    answer = chain.services.network.request(node(1), b"ping")
    refusal = pb.SendAppErrorMsg(
        node_id=node(1), request_id=vm.next().request_id, error_code=-2, error_message="unregistered handler"
    )
    sender.SendAppError(refusal)
    with pytest.raises(AppError) as caught:
        answer.result(DEADLINE_S)
    assert (caught.value.code, caught.value.message) == (-2, "unregistered handler")


def test_a_peer_whose_request_the_vm_ignores_times_out(chain: Chain) -> None:
    answer = chain.services.network.request(node(1), b"ping", timeout_s=0.1)
    with pytest.raises(AppError, match="timed out"):
        answer.result(DEADLINE_S)


def test_an_unsolicited_response_of_the_vm_is_dropped_but_recorded(chain: Chain, sender: RawStub) -> None:
    sender.SendAppResponse(pb.SendAppResponseMsg(node_id=node(1), request_id=9, response=b"?"))
    assert chain.services.app_sender.sent == [SentResponse(node(1), 9, b"?")]


def test_gossip_reaches_listed_nodes_and_samples_each_once(chain: Chain, sender: RawStub) -> None:
    reached: SimpleQueue[int] = SimpleQueue()
    for number in range(6):
        chain.connect(Peer(node(number), is_validator=number < 3, on_gossip=partial(count, reached, number)))
    chain.disconnect(node(5))
    gossip = pb.SendAppGossipMsg(node_ids=[node(0)], validators=99, non_validators=1, msg=b"news")
    sender.SendAppGossip(gossip)
    got = sorted(reached.get(timeout=DEADLINE_S) for _ in range(4))
    assert got[:3] == [0, 1, 2]
    assert got[3] in (3, 4)
    chain.services.network.close()
    chain.services.network.join()
    assert reached.empty()


def test_gossip_to_no_node_reaches_none(chain: Chain, sender: RawStub) -> None:
    reached: list[bytes] = []
    chain.connect(Peer(node(1), on_gossip=reached.append))
    sender.SendAppGossip(pb.SendAppGossipMsg(msg=b"news"))
    chain.services.network.close()
    chain.services.network.join()
    assert reached == []
    assert chain.services.app_sender.sent == [SentGossip((), 0, 0, 0, b"news")]


@pytest.mark.parametrize("length", [0, 19, 21])
def test_edge_61_a_node_id_of_the_wrong_length_sends_nothing(
    chain: Chain, vm: ListeningVM, sender: RawStub, length: int
) -> None:
    reached: list[object] = []
    chain.connect(Peer(node(1), on_request=reached.append, on_gossip=reached.append))
    expected = (UNKNOWN, f"invalid hash length: expected 20 bytes but got {length}")
    bad = bytes(length)
    assert error_of(sender.SendAppRequest, request(node(1), bad)) == expected
    assert error_of(sender.SendAppGossip, pb.SendAppGossipMsg(node_ids=[node(1), bad])) == expected
    assert error_of(sender.SendAppResponse, pb.SendAppResponseMsg(node_id=bad)) == expected
    assert error_of(sender.SendAppError, pb.SendAppErrorMsg(node_id=bad)) == expected
    chain.services.network.close()
    chain.services.network.join()
    assert chain.services.app_sender.sent == reached == []
    vm.expect_nothing_more()


def test_messages_wait_until_the_chain_takes_them(
    vm: ListeningVM, start_chain: StartChain, stub: MakeStub
) -> None:
    chain = start_chain(vm)
    chain.initialize()
    stub(chain.services.address, AppSender).SendAppRequest(request(node(1)))
    chain.services.network.gossip(node(2), b"early")
    vm.expect_nothing_more()
    chain.open_messages()
    assert {type(vm.next()), type(vm.next())} == {vm_pb2.AppRequestFailedMsg, vm_pb2.AppGossipMsg}


def test_an_error_from_an_app_message_stops_the_chain(start_chain: StartChain) -> None:
    class FailingVM(BareVM):
        def AppGossip(self, request: vm_pb2.AppGossipMsg) -> Empty:
            raise ValueError("handler broke")

    faults: SimpleQueue[ChainFatal] = SimpleQueue()
    chain = start_chain(FailingVM(), on_fault=faults.put)
    chain.start()
    chain.services.network.gossip(node(1), b"boom")
    fault = faults.get(timeout=DEADLINE_S)
    assert str(fault) == "shutting down chain: AppGossip: handler broke"
    assert chain.next_event(DEADLINE_S) is None
    with pytest.raises(ChainFatal, match="handler broke"):
        chain.produce()


def test_two_messages_run_at_once_and_no_more(start_chain: StartChain) -> None:
    class SlowVM(BareVM):
        def __init__(self) -> None:
            super().__init__()
            self.entered = threading.Semaphore(0)
            self.leave = threading.Event()

        def AppGossip(self, request: vm_pb2.AppGossipMsg) -> Empty:
            self.entered.release()
            self.leave.wait(DEADLINE_S)
            return Empty()

    vm = SlowVM()
    chain = start_chain(vm)
    chain.start()
    for _ in range(3):
        chain.services.network.gossip(node(1), b"")
    assert vm.entered.acquire(timeout=DEADLINE_S)
    assert vm.entered.acquire(timeout=DEADLINE_S)
    assert chain.health() is not None, "engine calls go on meanwhile"
    assert not vm.entered.acquire(blocking=False)
    vm.leave.set()
    assert vm.entered.acquire(timeout=DEADLINE_S)


def test_until_protocol_36_cross_chain_messages_work_alike(
    start: Callable[..., Chain], vm: ListeningVM, stub: MakeStub
) -> None:
    chain = start(36)
    sender = stub(chain.services.address, AppSender)
    other = ID(bytes(range(32)))
    sender.SendCrossChainAppRequest(pb.SendCrossChainAppRequestMsg(chain_id=other, request_id=1))
    assert vm.next() == vm_pb2.CrossChainAppRequestFailedMsg(
        chain_id=other, request_id=1, error_code=-1, error_message="timed out"
    )
    answer = chain.services.network.request(other, b"ping")
    asked = vm.next()
    assert (asked.chain_id, asked.request) == (other, b"ping")
    sender.SendCrossChainAppResponse(
        pb.SendCrossChainAppResponseMsg(chain_id=other, request_id=asked.request_id, response=b"pong")
    )
    assert answer.result(DEADLINE_S) == b"pong"
    answer = chain.services.network.request(other, b"ping")
    sender.SendCrossChainAppError(
        pb.SendCrossChainAppErrorMsg(chain_id=other, request_id=vm.next().request_id, error_code=5)
    )
    with pytest.raises(AppError):
        answer.result(DEADLINE_S)


def test_from_protocol_37_cross_chain_messages_are_unimplemented(
    start: Callable[..., Chain], stub: MakeStub
) -> None:
    sender = stub(start(37).services.address, AppSender)
    code, _ = error_of(sender.SendCrossChainAppRequest, pb.SendCrossChainAppRequestMsg(chain_id=bytes(32)))
    assert code is grpc.StatusCode.UNIMPLEMENTED


def test_a_test_waits_for_what_the_vm_sends(chain: Chain, sender: RawStub) -> None:
    sender.SendAppRequest(request(node(1), request_id=1))
    sender.SendAppError(pb.SendAppErrorMsg(node_id=node(1), request_id=2, error_code=1, error_message="no"))
    service = chain.services.app_sender
    assert service.wait_for(SentRequest) == SentRequest((node(1),), 1, b"?")
    assert service.wait_for(SentError, lambda sent: sent.code == 1).message == "no"
    with pytest.raises(TimeoutError, match="the VM sent no such SentGossip within"):
        service.wait_for(SentGossip, timeout_s=0.05)
