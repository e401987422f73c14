"""The service `appsender.AppSender`, by which a VM sends messages to its peers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.appsender import appsender_pb2 as pb
from vmsdk._pb.appsender.appsender_grpc import AppSender
from vmsdk.errors import AppError
from vmsdk.host.appnetwork import AppNetwork, Party
from vmsdk.host.service import NodeService
from vmsdk.ids import ID, NodeID
from vmsdk.protocol import Protocol


@dataclass(frozen=True)
class SentRequest:
    """The VM sent a request to *parties*."""

    parties: tuple[Party, ...]
    request_id: int
    request: bytes


@dataclass(frozen=True)
class SentResponse:
    """The VM responded to *party*."""

    party: Party
    request_id: int
    response: bytes


@dataclass(frozen=True)
class SentError:
    """The VM sent an error to *party*."""

    party: Party
    request_id: int
    code: int
    message: str


@dataclass(frozen=True)
class SentGossip:
    """The VM sent gossip to *node_ids* and to samples of the given sizes."""

    node_ids: tuple[NodeID, ...]
    validators: int
    non_validators: int
    peers: int
    message: bytes


Sent: TypeAlias = "SentRequest | SentResponse | SentError | SentGossip"
SentT = TypeVar("SentT", SentRequest, SentResponse, SentError, SentGossip)


class AppSenderService(NodeService):
    """Records what the VM sends, and passes it to *network*."""

    service = AppSender

    def __init__(self, protocol: Protocol, network: AppNetwork) -> None:
        super().__init__()
        self._protocol = protocol
        self._network = network
        self._changed = threading.Condition()
        self.sent: list[Sent] = []
        """All messages so far, oldest first."""

    def served(self) -> Iterable[str]:
        cross_chain = self._protocol.cross_chain_messages
        return [name for name in self.service.methods if cross_chain or "CrossChain" not in name]

    def wait_for(
        self, kind: type[SentT], matches: Callable[[SentT], bool] = lambda _: True, *, timeout_s: float = 60
    ) -> SentT:
        """Wait for the first message of this kind that *matches*. Raises `TimeoutError`."""

        def first() -> SentT | None:
            return next((one for one in self.sent if isinstance(one, kind) and matches(one)), None)

        with self._changed:
            if self._changed.wait_for(lambda: first() is not None, timeout_s):
                found = first()
                assert found is not None
                return found
        raise TimeoutError(
            f"the VM sent no such {kind.__name__} within {timeout_s:g} s; it sent: {self.sent}"
        )

    def SendAppRequest(self, request: pb.SendAppRequestMsg) -> Empty:
        parties = tuple(NodeID(node_id) for node_id in request.node_ids)
        self._record(SentRequest(parties, request.request_id, request.request))
        self._network.send_request(parties, request.request_id, request.request)
        return Empty()

    def SendAppResponse(self, request: pb.SendAppResponseMsg) -> Empty:
        return self._respond(NodeID(request.node_id), request)

    def SendAppError(self, request: pb.SendAppErrorMsg) -> Empty:
        return self._refuse(NodeID(request.node_id), request)

    def SendAppGossip(self, request: pb.SendAppGossipMsg) -> Empty:
        node_ids = tuple(NodeID(node_id) for node_id in request.node_ids)
        counts = {
            "validators": request.validators,
            "non_validators": request.non_validators,
            "peers": request.peers,
        }
        self._record(SentGossip(node_ids, message=request.msg, **counts))
        self._network.send_gossip(node_ids, request.msg, **counts)
        return Empty()

    def SendCrossChainAppRequest(self, request: pb.SendCrossChainAppRequestMsg) -> Empty:
        party = ID(request.chain_id)
        self._record(SentRequest((party,), request.request_id, request.request))
        self._network.send_request([party], request.request_id, request.request)
        return Empty()

    def SendCrossChainAppResponse(self, request: pb.SendCrossChainAppResponseMsg) -> Empty:
        return self._respond(ID(request.chain_id), request)

    def SendCrossChainAppError(self, request: pb.SendCrossChainAppErrorMsg) -> Empty:
        return self._refuse(ID(request.chain_id), request)

    def _respond(
        self, party: Party, request: pb.SendAppResponseMsg | pb.SendCrossChainAppResponseMsg
    ) -> Empty:
        self._record(SentResponse(party, request.request_id, request.response))
        self._network.send_reply(party, request.request_id, request.response)
        return Empty()

    def _refuse(self, party: Party, request: pb.SendAppErrorMsg | pb.SendCrossChainAppErrorMsg) -> Empty:
        self._record(SentError(party, request.request_id, request.error_code, request.error_message))
        error = AppError(request.error_code, request.error_message)
        self._network.send_reply(party, request.request_id, error)
        return Empty()

    def _record(self, message: Sent) -> None:
        with self._changed:
            self.sent.append(message)
            self._changed.notify_all()
