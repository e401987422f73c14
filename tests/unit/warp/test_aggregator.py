"""The aggregator: whom it asks, what it takes, and when it gives up."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from vmsdk import bls
from vmsdk._pb.sdk.sdk_pb2 import SignatureResponse
from vmsdk.errors import AppError, NodeError
from vmsdk.nodeservices import WarpValidatorSet
from vmsdk.warp import Aggregator, Message, QuorumNotReached, verify
from vmsdk.warp.aggregator import MAX_PENDING_REQUESTS

from .messages import NETWORK_ID, UNSIGNED, UNSIGNED_BYTES
from .nodes import Subnet

pytestmark = pytest.mark.warp


def aggregate(subnet: Subnet, **options: Any) -> Message:
    return Aggregator(subnet.network).aggregate(UNSIGNED, subnet.validators, **options)


def not_reached(subnet: Subnet, **options: Any) -> QuorumNotReached:
    with pytest.raises(QuorumNotReached) as caught:
        aggregate(subnet, **options)
    return caught.value


def refuse(request: bytes) -> AppError:
    return AppError(43, "not accepted yet")


def nobody(request: bytes) -> None:
    """Don't respond."""


def test_the_signatures_of_a_quorum_make_a_message_that_verifies() -> None:
    subnet = Subnet(20, 30, 50)
    message = aggregate(subnet)
    verify(message, subnet.validators, NETWORK_ID)
    assert Message.decode(message.encode()) == message
    assert len(message.signature.indices) == 2


def test_the_heaviest_are_asked_first_and_nobody_beyond_the_quorum() -> None:
    weights = [1] * 100
    weights[70:73] = [300, 400, 500]
    subnet = Subnet(*weights)
    verify(aggregate(subnet), subnet.validators, NETWORK_ID)
    assert [subnet.weights[node_id] for node_id in subnet.asked[:3]] == [500, 400, 300]
    assert len(subnet.asked) <= MAX_PENDING_REQUESTS + 3


def test_the_quorum_may_be_met_exactly() -> None:
    subnet = Subnet(66, 1, 33)
    subnet.respond = {list(subnet.signers)[2]: refuse}
    verify(aggregate(subnet), subnet.validators, NETWORK_ID)
    error = not_reached(subnet, quorum_num=68)
    assert (error.signed_weight, error.total_weight) == (67, 100)


def test_weight_without_a_key_counts_against_the_signers() -> None:
    subnet = Subnet(67, 33)
    validators = WarpValidatorSet(subnet.validators.validators[:1], 2 * 67)
    with pytest.raises(QuorumNotReached, match="of 134 signed: no validator is left to ask"):
        Aggregator(subnet.network).aggregate(UNSIGNED, validators)


def test_a_refusal_is_passed_on() -> None:
    subnet = Subnet(1, 1)
    subnet.respond = dict.fromkeys(subnet.signers, refuse)
    assert "0 of 2 signed: no validator is left to ask (NodeID-" in str(not_reached(subnet))
    assert "not accepted yet (application error 43)" in str(not_reached(subnet))


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"\xff",
        SignatureResponse(signature=bytes(96)).SerializeToString(),
        SignatureResponse(signature=bls.sign(bytes(31) + b"\7", UNSIGNED_BYTES)).SerializeToString()
        if sys.version_info >= (3, 11)
        else b"",
    ],
    ids=["empty", "not protobuf", "not a signature", "by another key"],
)
def test_a_response_that_is_not_the_validators_signature_counts_for_nothing(response: bytes) -> None:
    subnet = Subnet(68, 32)
    liar = list(subnet.signers)[1]
    subnet.respond = {liar: lambda request: response}
    message = aggregate(subnet)
    verify(message, subnet.validators, NETWORK_ID)
    assert len(message.signature.indices) == 1
    assert "(NodeID-" in str(not_reached(subnet, quorum_num=69))


def test_nodes_that_share_a_key_are_asked_in_turn_and_count_once() -> None:
    subnet = Subnet(50, 40, 10)
    first, second, other = subnet.signers.values()
    second.secret = first.secret
    subnet.respond = {first.node_id: refuse}
    message = aggregate(subnet, quorum_num=100)
    verify(message, subnet.validators, NETWORK_ID, 100, 100)
    assert subnet.asked == [first.node_id, other.node_id, second.node_id]


def test_two_signatures_by_the_same_key_count_once() -> None:
    subnet = Subnet(50, 40, 10)
    first, second, other = subnet.signers.values()
    second.secret = first.secret
    subnet.respond = {other.node_id: refuse}
    assert not_reached(subnet, quorum_num=100).signed_weight == 90


def test_only_so_many_requests_are_pending_at_once() -> None:
    subnet = Subnet(*[1] * (MAX_PENDING_REQUESTS + 5))
    subnet.respond = dict.fromkeys(subnet.signers, nobody)
    assert f"{MAX_PENDING_REQUESTS} nodes did not respond within 0 s" in str(not_reached(subnet, timeout_s=0))
    assert len(subnet.asked) == MAX_PENDING_REQUESTS


def test_a_response_makes_room_for_the_next_request() -> None:
    subnet = Subnet(*[1] * (MAX_PENDING_REQUESTS + 5))
    subnet.respond = dict.fromkeys(list(subnet.signers)[:MAX_PENDING_REQUESTS], refuse)
    assert not_reached(subnet).signed_weight == 5


def test_validators_without_keys_cannot_sign() -> None:
    subnet = Subnet()
    with pytest.raises(QuorumNotReached, match=r"0 of 7 signed: .*no validator has a BLS key"):
        Aggregator(subnet.network).aggregate(UNSIGNED, WarpValidatorSet((), 7))
    assert "no validator has a BLS key" in str(not_reached(subnet))


def test_the_justification_reaches_the_validators() -> None:
    subnet = Subnet(1)
    requests: list[bytes] = []
    subnet.respond = dict.fromkeys(subnet.signers, requests.append)
    not_reached(subnet, justification=b"because", timeout_s=0)
    assert requests[0].endswith(b"\x12\x07because")


def test_a_network_that_closes_ends_the_call() -> None:
    subnet = Subnet(1, 1)
    subnet.network.close()
    assert "the chain is shutting down" in str(not_reached(subnet))


def test_a_node_that_sends_nothing_is_the_callers_to_handle() -> None:
    subnet = Subnet(1)

    def stopped(request: bytes) -> None:
        raise NodeError("a.method", "UNAVAILABLE", "the node has stopped")

    subnet.respond = dict.fromkeys(subnet.signers, stopped)
    with pytest.raises(NodeError):
        aggregate(subnet)


def test_without_the_extra_nothing_is_sent_and_the_error_says_what_to_install() -> None:
    program = """
import sys
sys.modules["py_arkworks_bls12381"] = None  # as if it weren't installed: importing it fails
from typing import cast
from vmsdk import Context, ID
from vmsdk.errors import MissingExtra
from vmsdk.nodeservices import WarpValidator, WarpValidatorSet
from vmsdk.p2p import Network
from vmsdk.warp import Aggregator, BitSetSignature, Message, UnsignedMessage, verify
message = UnsignedMessage(1, ID.EMPTY, b"")
validators = WarpValidatorSet([WarpValidator(bytes(96), 1)], 1)
for call in (
    lambda: Aggregator(Network(Context())).aggregate(message, validators),
    lambda: verify(Message(message, BitSetSignature(b"\\1", bytes(96))), validators, 1),
):
    try:
        call()
    except MissingExtra as error:
        print(error)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.count("pip install 'vmsdk[warp]'") == 2
