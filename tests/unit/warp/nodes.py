"""Validators that sign what they are asked to, and a network of ours that reaches them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from vmsdk import bls
from vmsdk._pb.sdk.sdk_pb2 import SignatureRequest
from vmsdk.context import Context
from vmsdk.errors import AppError, NodeError
from vmsdk.ids import ID, NodeID
from vmsdk.nodeservices import AppSender, NodeServices, Validator, WarpSigner, WarpValidatorSet
from vmsdk.p2p import SIGNATURE_REQUEST, Network
from vmsdk.timestamp import Timestamp
from vmsdk.warp import SignatureHandler, UnsignedMessage

from .messages import NETWORK_ID, X

DEADLINE = Timestamp(5)
Respond = Callable[[bytes], "bytes | AppError | None"]


class Signer:
    """The signer of a node: its own key, and how often it signed."""

    def __init__(self, number: int) -> None:
        self.secret = bytes(30) + (number + 1).to_bytes(2, "big")
        self.node_id = NodeID(number.to_bytes(20, "big"))
        self.signed = 0
        self.fails = False
        self.warp_signer = cast(WarpSigner, self)

    def context(self) -> Context:
        return Context(network_id=NETWORK_ID, chain_id=X, services=cast(NodeServices, self))

    def sign(self, network_id: int, source_chain_id: ID, payload: bytes) -> bytes:
        if self.fails:
            raise NodeError("a.method", "UNAVAILABLE", "the node has stopped")
        self.signed += 1
        return bls.sign(self.secret, UnsignedMessage(network_id, source_chain_id, payload).encode())


def request(message: bytes, justification: bytes = b"") -> bytes:
    return SignatureRequest(message=message, justification=justification).SerializeToString()


def allow(message: UnsignedMessage, justification: bytes) -> None:
    """Sign everything."""


class Subnet:
    """A node of ours and validators of these weights. Requests are handled as they are sent."""

    def __init__(self, *weights: int) -> None:
        self.asked: list[NodeID] = []
        self.signers = {signer.node_id: signer for signer in map(Signer, range(len(weights)))}
        self.weights = dict(zip(self.signers, weights, strict=True))
        self.respond: dict[NodeID, Respond] = {}
        """The nodes that don't respond as validators do."""
        self.sender = cast(AppSender, self)
        self.network = Network(Context(services=cast(NodeServices, self)))
        self.handlers = {
            node_id: SignatureHandler(signer.context(), allow) for node_id, signer in self.signers.items()
        }

    @property
    def validators(self) -> WarpValidatorSet:
        return WarpValidatorSet.of(
            Validator(node_id, weight, bls.uncompress(bls.public_key(self.signers[node_id].secret)))
            for node_id, weight in self.weights.items()
        )

    def send_app_request(self, node_ids: Iterable[NodeID], request_id: int, request: bytes) -> None:
        for node_id in node_ids:
            self.asked.append(node_id)
            assert request[0] == SIGNATURE_REQUEST
            response = self._response(node_id, request[1:])
            if isinstance(response, AppError):
                self.network.app_request_failed(node_id, request_id, response)
            elif response is not None:
                self.network.app_response(node_id, request_id, response)

    def _response(self, node_id: NodeID, request: bytes) -> bytes | AppError | None:
        if node_id in self.respond:
            return self.respond[node_id](request)
        try:
            return self.handlers[node_id].app_request(NodeID.EMPTY, DEADLINE, request)
        except AppError as error:
            return error
