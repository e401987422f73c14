"""The node's sender of application messages."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable

from vmsdk._pb.appsender import appsender_pb2 as pb
from vmsdk._pb.appsender.appsender_grpc import AppSender as Methods
from vmsdk.errors import InvalidInput, RemovedFromProtocol
from vmsdk.ids import ID, NodeID
from vmsdk.nodeservices import AppSender
from vmsdk.protocol import Protocol
from vmsdk.services.call import Call, signed, unsigned
from vmsdk.services.channel import Channel


class AppSenderClient(AppSender):
    """The app sender behind *channel*. IDs of the wrong length are refused before sending."""

    def __init__(self, channel: Channel, protocol: Protocol) -> None:
        self._protocol = protocol
        self._request = Call(channel, Methods.SendAppRequest)
        self._response = Call(channel, Methods.SendAppResponse)
        self._error = Call(channel, Methods.SendAppError)
        self._gossip = Call(channel, Methods.SendAppGossip)
        self._cross_chain_request = Call(channel, Methods.SendCrossChainAppRequest)
        self._cross_chain_response = Call(channel, Methods.SendCrossChainAppResponse)
        self._cross_chain_error = Call(channel, Methods.SendCrossChainAppError)

    def send_app_request(self, node_ids: Iterable[NodeID], request_id: int, request: bytes) -> None:
        targets = _distinct(node_ids)
        if not targets:
            raise InvalidInput("a request needs a node to send it to", "pass at least one node ID")
        self._request(
            pb.SendAppRequestMsg(
                node_ids=targets, request_id=_request_id(request_id), request=_message(request)
            )
        )

    def send_app_response(self, node_id: NodeID, request_id: int, response: bytes) -> None:
        self._response(
            pb.SendAppResponseMsg(
                node_id=NodeID(node_id), request_id=_request_id(request_id), response=_message(response)
            )
        )

    def send_app_error(self, node_id: NodeID, request_id: int, code: int, message: str) -> None:
        self._error(
            pb.SendAppErrorMsg(
                node_id=NodeID(node_id),
                request_id=_request_id(request_id),
                error_code=_error_code(code),
                error_message=message,
            )
        )

    def send_app_gossip(
        self,
        message: bytes,
        *,
        node_ids: Iterable[NodeID] = (),
        validators: int = 0,
        non_validators: int = 0,
        peers: int = 0,
    ) -> None:
        targets = _distinct(node_ids)
        if not (targets or validators or non_validators or peers):
            raise InvalidInput(
                "gossip has no target",
                "pass node_ids, or how many validators, non_validators or peers to send it to",
            )
        self._gossip(
            pb.SendAppGossipMsg(
                node_ids=targets,
                validators=unsigned("the number of validators", validators, bits=64),
                non_validators=unsigned("the number of non-validators", non_validators, bits=64),
                peers=unsigned("the number of peers", peers, bits=64),
                msg=_message(message),
            )
        )

    def send_cross_chain_app_request(self, chain_id: ID, request_id: int, request: bytes) -> None:
        self._require_cross_chain("SendCrossChainAppRequest")
        self._cross_chain_request(
            pb.SendCrossChainAppRequestMsg(
                chain_id=ID(chain_id), request_id=_request_id(request_id), request=_message(request)
            )
        )

    def send_cross_chain_app_response(self, chain_id: ID, request_id: int, response: bytes) -> None:
        self._require_cross_chain("SendCrossChainAppResponse")
        self._cross_chain_response(
            pb.SendCrossChainAppResponseMsg(
                chain_id=ID(chain_id), request_id=_request_id(request_id), response=_message(response)
            )
        )

    def send_cross_chain_app_error(self, chain_id: ID, request_id: int, code: int, message: str) -> None:
        self._require_cross_chain("SendCrossChainAppError")
        self._cross_chain_error(
            pb.SendCrossChainAppErrorMsg(
                chain_id=ID(chain_id),
                request_id=_request_id(request_id),
                error_code=_error_code(code),
                error_message=message,
            )
        )

    def _require_cross_chain(self, method: str) -> None:
        if not self._protocol.cross_chain_messages:
            raise RemovedFromProtocol(method, last=36, has=self._protocol.version)


def _distinct(node_ids: Iterable[NodeID]) -> list[bytes]:
    """Each node once, in the order given. Raises `InvalidInput` or `TypeError`."""
    given: object = node_ids
    if isinstance(given, (bytes, str)):
        raise TypeError(f"node_ids is {given!r}: pass a list of node IDs, such as [node_id]")
    return list(dict.fromkeys(NodeID(node_id) for node_id in node_ids))


def _request_id(value: int) -> int:
    return unsigned("a request ID", value, bits=32)


def _error_code(value: int) -> int:
    return signed("an application error's code", value, bits=32)


def _message(value: object) -> bytes:
    """Return *value* if it is bytes. Raises `TypeError`."""
    if not isinstance(value, bytes):
        raise TypeError(f"a message is bytes, not {reprlib.repr(value)}: encode it")
    return value
