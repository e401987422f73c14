"""Collects the validators' signatures of a message into one (ACP-118)."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue

from google.protobuf.message import DecodeError

from vmsdk import bls
from vmsdk._pb.sdk.sdk_pb2 import SignatureRequest, SignatureResponse
from vmsdk.errors import AppError, VMError
from vmsdk.ids import NodeID
from vmsdk.nodeservices import WarpValidatorSet
from vmsdk.p2p import SIGNATURE_REQUEST, Network
from vmsdk.warp.message import BitSetSignature, Message, UnsignedMessage
from vmsdk.warp.verification import QUORUM_DEN, QUORUM_NUM, is_quorum

MAX_PENDING_REQUESTS = 50
TIMEOUT_S = 10.0


class QuorumNotReached(VMError):
    """Too few validators signed in time: only *signed_weight* of *total_weight*."""

    def __init__(self, signed_weight: int, total_weight: int, reason: str) -> None:
        self.signed_weight = signed_weight
        self.total_weight = total_weight
        super().__init__(f"validators with a weight of {signed_weight} of {total_weight} signed: {reason}")


class Aggregator:
    """Requests validators' signatures, through *network*. Thread-safe."""

    def __init__(self, network: Network) -> None:
        self._client = network.client(SIGNATURE_REQUEST)
        self._log = network.ctx.log

    def aggregate(
        self,
        message: UnsignedMessage,
        validators: WarpValidatorSet,
        *,
        justification: bytes = b"",
        quorum_num: int = QUORUM_NUM,
        quorum_den: int = QUORUM_DEN,
        timeout_s: float = TIMEOUT_S,
    ) -> Message:
        """Return *message* with the signatures of a quorum of validators.

        Asks the validators with the highest weight first, up to 50 at the same time. Verifies each
        signature, and stops at the quorum. Raises `QuorumNotReached` once no validator is
        left to ask, or after *timeout_s*, and `NodeError` if the node does not send a request.

        Blocks: call it in your own thread or in an HTTP handler, never in a `Handler` or with
        `Context.lock` held. In async code, use `asyncio.to_thread`.
        """
        data = message.encode()
        request = SignatureRequest(message=data, justification=justification).SerializeToString()
        keys = [bls.compress(validator.public_key) for validator in validators.validators]
        total_weight, signed_weight = validators.total_weight, 0
        signatures: dict[int, bytes] = {}
        waiting = deque(_candidates(validators))
        responses: SimpleQueue[tuple[int, NodeID, Future[bytes]]] = SimpleQueue()
        pending = 0
        refusal = "no validator has a BLS key"
        deadline = time.monotonic() + timeout_s

        def put(index: int, node_id: NodeID, future: Future[bytes]) -> None:
            responses.put((index, node_id, future))

        while not signatures or not is_quorum(signed_weight, total_weight, quorum_num, quorum_den):
            while waiting and pending < MAX_PENDING_REQUESTS:
                index, node_id = waiting.popleft()
                if index not in signatures:
                    future = self._client.request(node_id, request)
                    future.add_done_callback(partial(put, index, node_id))
                    pending += 1
            if not pending:
                raise QuorumNotReached(
                    signed_weight, total_weight, f"no validator is left to ask ({refusal})"
                )
            try:
                index, node_id, future = responses.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                reason = f"{pending} nodes did not respond within {timeout_s:g} s"
                raise QuorumNotReached(signed_weight, total_weight, reason) from None
            pending -= 1
            if index in signatures:  # by another node with the same key
                continue
            try:
                signatures[index] = _signature(keys[index], data, future)
            except (AppError, _InvalidResponse) as error:
                refusal = f"{node_id}: {error}"
                self._log.debug("no signature of warp message %s from %s", message.id, refusal)
                continue
            signed_weight += validators.validators[index].weight
        return Message(message, BitSetSignature.of(signatures, bls.aggregate_signatures(signatures.values())))


class _InvalidResponse(Exception):
    """A response is not the validator's signature."""


def _candidates(validators: WarpValidatorSet) -> list[tuple[int, NodeID]]:
    """The nodes to ask, each with the index of its validator: first one of each validator, in
    descending order of weight, then the others.
    """
    ranked = sorted(
        (nth, -validator.weight, index, node_id)
        for index, validator in enumerate(validators.validators)
        for nth, node_id in enumerate(validator.node_ids)
    )
    return [(index, node_id) for _, _, index, node_id in ranked]


def _signature(key: bytes, data: bytes, future: Future[bytes]) -> bytes:
    """The verified signature in a response. Raises `AppError` or `_InvalidResponse`."""
    try:
        response = SignatureResponse.FromString(future.result())
    except DecodeError as error:
        raise _InvalidResponse(f"its response is not a SignatureResponse: {error}") from None
    if not bls.verify(key, data, response.signature):
        raise _InvalidResponse("its signature is invalid")
    return response.signature
