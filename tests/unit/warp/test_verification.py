"""The rules by which nodes verify messages."""

from __future__ import annotations

from typing import cast

import pytest

from vmsdk import bls
from vmsdk.context import Context
from vmsdk.errors import InvalidWarpMessage, NodeError, WeightOverflow
from vmsdk.ids import ID
from vmsdk.nodeservices import NodeServices, ValidatorState, WarpValidator, WarpValidatorSet
from vmsdk.warp import BitSetSignature, Message, UnsignedMessage, verify, verify_at

from .messages import NETWORK_ID, SIGNATURE, UNSIGNED, UNSIGNED_BYTES, X

SECRET_KEYS = [bytes(range(first, first + 32)) for first in (1, 2, 3)]


def canonical(*weights: int, without_key: int = 0) -> tuple[WarpValidatorSet, list[bytes]]:
    """Build a set of validators with these weights; return it and their secret keys in its
    order.
    """
    owners = sorted((bls.uncompress(bls.public_key(secret)), secret) for secret in SECRET_KEYS)
    pairs = list(zip(owners, weights, strict=False))
    validators = [WarpValidator(public_key, weight) for (public_key, _), weight in pairs]
    return (
        WarpValidatorSet(validators, sum(weights) + without_key),
        [secret for (_, secret), _ in pairs],
    )


def signed(secrets: list[bytes], *signers: int) -> Message:
    signatures = [bls.sign(secrets[index], UNSIGNED_BYTES) for index in signers]
    return Message(UNSIGNED, BitSetSignature.of(signers, bls.aggregate_signatures(signatures)))


def refused(message: Message, validators: WarpValidatorSet, num: int = 67, den: int = 100) -> str:
    with pytest.raises(InvalidWarpMessage) as caught:
        verify(message, validators, NETWORK_ID, num, den)
    return str(caught.value)


@pytest.mark.warp
def test_edge_100_a_leading_zero_byte_makes_the_bit_set_invalid() -> None:
    validators, _ = canonical(1)
    for signers in (b"\0", b"\0\1"):
        assert refused(Message(UNSIGNED, BitSetSignature(signers, SIGNATURE)), validators) == (
            "bitset is invalid: it begins with a zero byte"
        )


@pytest.mark.warp
def test_edge_100_a_bit_beyond_the_set_is_an_unknown_validator() -> None:
    validators, _ = canonical(1, 1)
    message = Message(UNSIGNED, BitSetSignature(b"\5", SIGNATURE))
    assert refused(message, validators) == "unknown validator: 2 >= 2"
    huge = Message(UNSIGNED, BitSetSignature(b"\x80" + bytes(2**20), SIGNATURE))
    assert refused(huge, validators) == f"unknown validator: {8 * 2**20 + 7} >= 2"


# Verification -------------------------------------------------------------------------------------


@pytest.mark.warp
def test_a_message_signed_by_a_quorum_is_valid() -> None:
    validators, secrets = canonical(50, 30, 20)
    verify(signed(secrets, 0, 2), validators, NETWORK_ID, 67, 100)


@pytest.mark.warp
def test_a_quorum_may_be_met_exactly() -> None:
    validators, secrets = canonical(67, 33)
    verify(signed(secrets, 0), validators, NETWORK_ID, 67, 100)
    assert refused(signed(secrets, 0), validators, 68) == "signature weight is insufficient: 68*100 > 100*67"


@pytest.mark.warp
def test_weight_without_a_key_counts_against_the_signers() -> None:
    validators, secrets = canonical(67, without_key=34)
    assert refused(signed(secrets, 0), validators) == "signature weight is insufficient: 67*101 > 100*67"


@pytest.mark.warp
def test_a_message_of_another_network_is_refused_first() -> None:
    validators, _ = canonical(1)
    message = Message(UNSIGNED, BitSetSignature(b"\0", b""))
    with pytest.raises(InvalidWarpMessage, match=r"^wrong networkID: 1337 instead of 1$"):
        verify(message, validators, 1, 67, 100)


@pytest.mark.warp
def test_the_signature_of_other_bytes_is_invalid() -> None:
    validators, secrets = canonical(1)
    other = UnsignedMessage(NETWORK_ID, X, b"other")
    message = Message(other, signed(secrets, 0).signature)
    assert refused(message, validators) == "signature is invalid"


@pytest.mark.warp
def test_the_signature_of_fewer_than_the_named_signers_is_invalid() -> None:
    validators, secrets = canonical(1, 1)
    message = Message(UNSIGNED, BitSetSignature.of([0, 1], signed(secrets, 0).signature.signature))
    assert refused(message, validators) == "signature is invalid"


@pytest.mark.warp
def test_bytes_that_are_not_a_signature_are_refused() -> None:
    validators, _ = canonical(1)
    message = Message(UNSIGNED, BitSetSignature(b"\1", bytes(96)))
    assert refused(message, validators).startswith("failed to parse signature: not a BLS signature")


@pytest.mark.warp
def test_a_quorum_of_nothing_still_needs_a_signer() -> None:
    validators, _ = canonical(1)
    assert refused(Message(UNSIGNED, BitSetSignature(b"", SIGNATURE)), validators, 0) == "no public keys"


@pytest.mark.warp
def test_keys_that_cancel_each_other_out_sign_nothing() -> None:
    validators, _ = canonical(1)
    key = validators.validators[0].public_key
    compressed = bls.compress(key)
    negative = bls.uncompress(bytes([compressed[0] ^ 0x20]) + compressed[1:])
    pair = WarpValidatorSet([WarpValidator(key, 1), WarpValidator(negative, 1)], 2)
    infinity = bytes([0xC0]) + bytes(95)
    message = Message(UNSIGNED, BitSetSignature.of([0, 1], infinity))
    assert refused(message, pair) == "signature is invalid"


# At a P-chain height ------------------------------------------------------------------------------

SUBNET = ID.of(b"subnet")


class Node:
    """A P-chain on which X is a chain of `SUBNET`, whose validators are known at height 7."""

    def __init__(self, found: WarpValidatorSet | Exception, code: str = "UNKNOWN") -> None:
        self.found = found
        self.code = code
        self.validators = cast(ValidatorState, self)

    def context(self, network_id: int = NETWORK_ID) -> Context:
        return Context(network_id=network_id, services=cast(NodeServices, self))

    def get_subnet_id(self, chain_id: ID) -> ID:
        if chain_id != X or self.code != "UNKNOWN":
            raise NodeError("a.method", self.code, "problem retrieving blockchain")
        return SUBNET

    def get_warp_validator_set(self, height: int, subnet_id: ID) -> WarpValidatorSet:
        assert (height, subnet_id) == (7, SUBNET)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.mark.warp
def test_a_message_is_verified_by_the_validators_of_its_source_chain_at_a_height() -> None:
    validators, secrets = canonical(66, 1, 33)
    ctx = Node(validators).context()
    verify_at(ctx, signed(secrets, 0, 1), 7)
    verify_at(ctx, signed(secrets, 0), 7, 66, 100)
    with pytest.raises(InvalidWarpMessage, match="insufficient: 67\\*100 > 100\\*66"):
        verify_at(ctx, signed(secrets, 0), 7)


@pytest.mark.warp
def test_a_message_of_another_network_is_refused_at_any_height() -> None:
    validators, secrets = canonical(1)
    with pytest.raises(InvalidWarpMessage, match="wrong networkID"):
        verify_at(Node(validators).context(NETWORK_ID + 1), signed(secrets, 0), 7)


def test_a_message_of_a_chain_that_does_not_exist_is_invalid() -> None:
    message = Message(UnsignedMessage(NETWORK_ID, ID.EMPTY, b""), BitSetSignature(b"\1", SIGNATURE))
    with pytest.raises(InvalidWarpMessage, match=r"unknown source chain: 1111.*problem retrieving"):
        verify_at(Node(WarpValidatorSet((), 0)).context(), message, 7)


def test_a_node_that_cannot_be_asked_is_not_the_messages_fault() -> None:
    message = Message(UNSIGNED, BitSetSignature(b"\1", SIGNATURE))
    with pytest.raises(NodeError):
        verify_at(Node(WarpValidatorSet((), 0), code="UNAVAILABLE").context(), message, 7)


def test_a_subnet_whose_weights_overflow_signs_nothing() -> None:
    message = Message(UNSIGNED, BitSetSignature(b"\1", SIGNATURE))
    with pytest.raises(InvalidWarpMessage, match="weight overflowed"):
        verify_at(Node(WeightOverflow(2**64)).context(), message, 7)
