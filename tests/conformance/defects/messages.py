"""Defects in handling application messages."""

from __future__ import annotations

import json
import os
import threading
import traceback

import grpc
from google.protobuf.empty_pb2 import Empty

from tests.conformance.goodvm import TRANSACTION_BYTES, Block, GoodVM
from vmsdk._pb.appsender import appsender_pb2
from vmsdk._pb.appsender.appsender_grpc import AppSender
from vmsdk._pb.http import http_pb2
from vmsdk._pb.vm import vm_pb2 as pb


class DeathByGossip(GoodVM):
    """Gossip that is not JSON is an error."""

    found_by = "messages.gossip-may-be-garbage"

    def AppGossip(self, request: pb.AppGossipMsg) -> Empty:
        json.loads(request.msg)
        return Empty()


class EndByGossip(GoodVM):
    """Gossip that is nested deeply ends the process, as an overflow of the stack does."""

    found_by = "messages.gossip-may-be-garbage"

    def AppGossip(self, request: pb.AppGossipMsg) -> Empty:
        if request.msg.startswith(b"[" * 10_000):
            os._exit(139)
        return Empty()


class EchoesGossip(GoodVM):
    """All gossip is sent on, whatever it is."""

    found_by = "messages.gossip-is-not-echoed"

    def AppGossip(self, request: pb.AppGossipMsg) -> Empty:
        gossip = appsender_pb2.SendAppGossipMsg(msg=request.msg, validators=10)
        self.call(self.node, AppSender.SendAppGossip, gossip)
        return Empty()


class DeathByRequest(GoodVM):
    """A request of an unknown kind is an error."""

    found_by = "messages.requests-may-be-garbage"

    def AppRequest(self, request: pb.AppRequestMsg) -> Empty:
        if not request.request.startswith(b"get "):
            raise ValueError("unknown request")
        return super().AppRequest(request)


class SmallMessages(GoodVM):
    """A message of more than 64 KiB is an error."""

    found_by = "messages.messages-of-1-mib"

    def AppGossip(self, request: pb.AppGossipMsg) -> Empty:
        if len(request.msg) > 65_536:
            raise ValueError("the message is too long")
        return Empty()


class UnexpectedResponse(GoodVM):
    """A response to no request ends the process."""

    found_by = "messages.responses-may-be-unexpected"

    def AppResponse(self, request: pb.AppResponseMsg) -> Empty:
        os._exit(1)


class UnexpectedFailure(GoodVM):
    """A failure of no request ends the process."""

    found_by = "messages.responses-may-be-unexpected"

    def AppRequestFailed(self, request: pb.AppRequestFailedMsg) -> Empty:
        os._exit(1)


class LateRequest(GoodVM):
    """A request after its deadline is an error."""

    found_by = "messages.requests-may-be-late"

    def AppRequest(self, request: pb.AppRequestMsg) -> Empty:
        if request.deadline.seconds < 1_000_000_000:
            raise TimeoutError("the request is late")
        return super().AppRequest(request)


class FullQueue(GoodVM):
    """It keeps gossip in a queue that has room for 100 messages."""

    found_by = "messages.many-messages-in-a-row"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.queue: list[bytes] = []

    def AppGossip(self, request: pb.AppGossipMsg) -> Empty:
        if len(self.queue) == 100:
            raise ValueError("the queue is full")
        self.queue.append(request.msg)
        return Empty()


class TracebackPerMessage(GoodVM):
    """It logs a traceback for each message that it can't handle."""

    found_by = "messages.garbage-does-not-flood-the-log"

    def AppGossip(self, request: pb.AppGossipMsg) -> Empty:
        try:
            json.loads(request.msg)
        except ValueError:
            traceback.print_exc()
        return Empty()


class SilentOnRequests(GoodVM):
    """It ignores requests that it does not know."""

    found_by = "messages.requests-get-a-response"

    def AppRequest(self, request: pb.AppRequestMsg) -> Empty:
        return Empty()


class NotReady(GoodVM):
    """Before normal operation, every message is an error."""

    found_by = "messages.messages-before-normal-operation"

    def AppGossip(self, request: pb.AppGossipMsg) -> Empty:
        if self.state != pb.STATE_NORMAL_OP:
            raise ValueError("not bootstrapped")
        return Empty()


class NoCrossChain(GoodVM):
    """A message of another chain is an error."""

    found_by = "messages.messages-of-other-chains"
    at_protocol = 36

    def CrossChainAppRequest(self, request: pb.CrossChainAppRequestMsg) -> Empty:
        raise ValueError("not supported")


class PeerTwice(GoodVM):
    """A peer that is connected twice is an error."""

    found_by = "messages.peers-come-and-go"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.peers: set[bytes] = set()

    def Connected(self, request: pb.ConnectedRequest) -> Empty:
        if request.node_id in self.peers:
            raise ValueError("the peer is connected already")
        self.peers.add(request.node_id)
        return Empty()


class UnknownPeer(GoodVM):
    """The end of a connection that it did not know is an error."""

    found_by = "messages.peers-come-and-go"

    def Disconnected(self, request: pb.DisconnectedRequest) -> Empty:
        raise KeyError(request.node_id)


class OddVersion(GoodVM):
    """It parses the version of each peer, and knows the name of one client."""

    found_by = "messages.peers-are-many"

    def Connected(self, request: pb.ConnectedRequest) -> Empty:
        if request.name not in ("avalanchego", "metalgo"):
            raise ValueError(f"unknown client {request.name!r}")
        return Empty()


class TooManyPeers(GoodVM):
    """It has room for 100 peers."""

    found_by = "messages.peers-are-many"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.peers: set[bytes] = set()

    def Connected(self, request: pb.ConnectedRequest) -> Empty:
        self.peers.add(request.node_id)
        if len(self.peers) > 100:
            raise ValueError("too many peers")
        return Empty()


class HangsOnLateGossip(GoodVM):
    """After Shutdown, gossip waits for a worker that has ended."""

    found_by = "messages.messages-after-shutdown"

    def AppGossip(self, request: pb.AppGossipMsg) -> Empty:
        if self.shut_down.is_set():
            threading.Event().wait()
        return Empty()


class LogsEachBadBlock(GoodVM):
    """It logs a traceback for each block that it can't parse."""

    found_by = "messages.garbage-does-not-flood-the-log"

    def ParseBlock(self, request: pb.ParseBlockRequest) -> pb.ParseBlockResponse:
        try:
            return super().ParseBlock(request)
        except ValueError:
            traceback.print_exc()
            raise


class RespondsTwice(GoodVM):
    """A request gets an error, and then a response as well."""

    found_by = "messages.requests-get-one-response"

    def AppRequest(self, request: pb.AppRequestMsg) -> Empty:
        super().AppRequest(request)
        response = appsender_pb2.SendAppResponseMsg(node_id=request.node_id, request_id=request.request_id)
        self.call(self.node, AppSender.SendAppResponse, response)
        return Empty()


class DiesIfItCannotSend(GoodVM):
    """An error that the node can't send ends the process."""

    found_by = "messages.sends-may-fail"

    def AppRequest(self, request: pb.AppRequestMsg) -> Empty:
        try:
            return super().AppRequest(request)
        except grpc.RpcError:
            os._exit(1)


class RefusesWhatItCannotGossip(GoodVM):
    """A transaction that can't be gossiped is an error for its client."""

    found_by = "messages.sends-may-fail"

    def HandleSimple(self, request: http_pb2.HandleSimpleHTTPRequest) -> http_pb2.HandleSimpleHTTPResponse:
        if request.method == "POST":
            gossip = appsender_pb2.SendAppGossipMsg(validators=1, msg=request.body)
            self.call(self.node, AppSender.SendAppGossip, gossip)
        return super().HandleSimple(request)


class LogsEachBadRequest(GoodVM):
    """It logs a traceback for each request that it can't handle."""

    found_by = "messages.garbage-does-not-flood-the-log"

    def AppRequest(self, request: pb.AppRequestMsg) -> Empty:
        try:
            json.loads(request.request)
        except ValueError:
            traceback.print_exc()
        return super().AppRequest(request)


class TakesAnyTransaction(GoodVM):
    """Gossip of a transaction's length is one, and what BlockVerify finds wrong stays pending."""

    found_by = "messages.garbage-is-no-transaction"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.unsigned: set[bytes] = set()

    def AppGossip(self, request: pb.AppGossipMsg) -> Empty:
        if len(request.msg) == TRANSACTION_BYTES:
            self.unsigned.add(request.msg)
            with self.wake:
                self.pending.append(request.msg)
            self.changed()
        return Empty()

    def verify(self, block: Block) -> None:
        if self.unsigned.intersection(block.transactions):
            raise ValueError("the signature is wrong")
        super().verify(block)


class SendsWhatItCannotRead(GoodVM):
    """It gossips blocks, which AppGossip does not know."""

    found_by = "messages.own-gossip-is-understood"

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        response = super().BuildBlock(request)
        message = appsender_pb2.SendAppGossipMsg(msg=b"block" + response.bytes, validators=10)
        self.call(self.node, AppSender.SendAppGossip, message)
        return response

    def AppGossip(self, request: pb.AppGossipMsg) -> Empty:
        if request.msg.startswith(b"block"):
            raise ValueError("unknown kind of message")
        return Empty()
