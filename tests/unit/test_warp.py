"""Warp messages: their encoding, and the rules by which nodes verify them."""

from __future__ import annotations

import pytest

from vmsdk import bls
from vmsdk.errors import InvalidEncoding, InvalidWarpMessage
from vmsdk.ids import ID
from vmsdk.nodeservices import WarpValidator, WarpValidatorSet
from vmsdk.warp import (
    AddressedCall,
    BitSetSignature,
    Hash,
    Message,
    UnsignedMessage,
    decode_payload,
    verify,
)

NETWORK_ID = 1337
X = ID(bytes(range(1, 33)))
CALL = AddressedCall(bytes.fromhex("aabbccdd"), b"hello")
CALL_BYTES = bytes.fromhex("00000000000100000004aabbccdd0000000568656c6c6f")
UNSIGNED = UnsignedMessage(NETWORK_ID, X, CALL_BYTES)
UNSIGNED_BYTES = bytes.fromhex(
    "0000000005390102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"
    "0000001700000000000100000004aabbccdd0000000568656c6c6f"
)

SECRET_KEYS = [bytes(range(first, first + 32)) for first in (1, 2, 3)]
SIGNATURE = bytes.fromhex(
    "8c09139e8df6b8fe34477263d38aeede78cadee57740c5143e33cf8e6f9c3e07bfb4630890468a73e812f50e5eb10f4d"
    "0d699ef6c714120d2b5887e0d23cb10bb4589edccb9b076733583c9253a5588855893a70b208b35d191970ec60fa6bdb"
)


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


# Bytes --------------------------------------------------------------------------------------------


def test_edge_98_appendix_a_addressed_call() -> None:
    assert CALL.encode() == CALL_BYTES
    assert decode_payload(CALL_BYTES) == CALL


def test_edge_98_appendix_a_unsigned_message_and_its_id() -> None:
    assert UNSIGNED.encode() == UNSIGNED_BYTES
    assert UnsignedMessage.decode(UNSIGNED_BYTES) == UNSIGNED
    assert UNSIGNED.id.hex() == "109356e2170716d555ae5a769cbee4d65f0149df0720024f62c7229a6d9bd384"


def test_edge_98_appendix_a_full_message() -> None:
    message = Message(UNSIGNED, BitSetSignature(b"\1", SIGNATURE))
    data = UNSIGNED_BYTES + bytes.fromhex("000000000000000101") + SIGNATURE
    assert len(data) == 170
    assert message.encode() == data
    assert Message.decode(data) == message


def test_a_hash_is_38_bytes() -> None:
    assert Hash(X).encode() == bytes(6) + X
    assert decode_payload(bytes(6) + X) == Hash(X)


@pytest.mark.parametrize(
    "data", [UNSIGNED_BYTES + b"\0", b"\0\1" + UNSIGNED_BYTES[2:], UNSIGNED_BYTES[:-1], b""]
)
def test_an_unsigned_message_is_decoded_strictly(data: bytes) -> None:
    with pytest.raises(InvalidEncoding):
        UnsignedMessage.decode(data)


@pytest.mark.parametrize(
    ("tail", "rule"),
    [
        (bytes.fromhex("000000010000000101") + SIGNATURE, "couldn't unmarshal interface"),
        (bytes.fromhex("000000000000000101") + SIGNATURE + b"\0", "trailing buffer space"),
        (bytes.fromhex("000000000000000101") + SIGNATURE[:-1], "packer has insufficient length for input"),
        (b"", "packer has insufficient length for input"),
    ],
)
def test_a_message_is_decoded_strictly(tail: bytes, rule: str) -> None:
    with pytest.raises(InvalidEncoding) as caught:
        Message.decode(UNSIGNED_BYTES + tail)
    assert caught.value.rule == rule


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (bytes.fromhex("000000000002"), "couldn't unmarshal interface"),
        (bytes.fromhex("0001") + CALL_BYTES[2:], "unknown codec version"),
        (CALL_BYTES + b"\0", "trailing buffer space"),
        (bytes(24 * 1024 + 1), "byte array exceeds maximum length"),
    ],
)
def test_a_payload_is_decoded_strictly(data: bytes, rule: str) -> None:
    with pytest.raises(InvalidEncoding) as caught:
        decode_payload(data)
    assert caught.value.rule == rule


def test_a_payload_has_at_most_24_kib_but_a_message_may_be_longer() -> None:
    longest = AddressedCall(b"", bytes(24 * 1024 - 14))
    assert decode_payload(longest.encode()) == longest
    with pytest.raises(InvalidEncoding):
        AddressedCall(b"", bytes(24 * 1024 - 13)).encode()
    large = UnsignedMessage(NETWORK_ID, X, bytes(1024 * 1024))
    assert UnsignedMessage.decode(large.encode()) == large


def test_values_that_do_not_fit_cannot_be_encoded() -> None:
    with pytest.raises(InvalidEncoding, match="does not fit in 32 bits"):
        UnsignedMessage(2**32, X, b"").encode()
    with pytest.raises(InvalidEncoding, match="a signature has 96 bytes, not 95"):
        Message(UNSIGNED, BitSetSignature(b"\1", SIGNATURE[:-1])).encode()


# Signers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("indices", "signers"), [([], ""), ([0], "01"), ([0, 2], "05"), ([8], "0100"), ([1, 15, 16], "018002")]
)
def test_signers_are_the_bits_of_a_big_endian_number(indices: list[int], signers: str) -> None:
    signature = BitSetSignature.of(indices, SIGNATURE)
    assert signature.signers.hex() == signers
    assert signature.indices == indices


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
    assert refused(message, validators) == "signature is invalid"


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
    assert refused(message, pair) == "invalid public key"
