"""Messages: their encoding, and who signed them."""

from __future__ import annotations

import pytest

from vmsdk.errors import InvalidEncoding, InvalidWarpMessage
from vmsdk.warp import BitSetSignature, Message, UnsignedMessage

from .messages import SIGNATURE, UNSIGNED, UNSIGNED_BYTES, X


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


def test_many_signers_are_listed_in_linear_time() -> None:
    assert len(BitSetSignature(b"\xff" * 2**18, SIGNATURE).indices) == 8 * 2**18


def test_signers_with_a_leading_zero_byte_are_not_listed() -> None:
    with pytest.raises(InvalidWarpMessage, match="bitset is invalid"):
        _ = BitSetSignature(b"\0\1", SIGNATURE).indices
