"""Payloads: their encoding and its limit."""

from __future__ import annotations

import pytest

from vmsdk.errors import InvalidEncoding
from vmsdk.warp import AddressedCall, Hash, UnsignedMessage, decode_payload

from .messages import CALL, CALL_BYTES, NETWORK_ID, X


def test_edge_98_appendix_a_addressed_call() -> None:
    assert CALL.encode() == CALL_BYTES
    assert decode_payload(CALL_BYTES) == CALL


def test_a_hash_is_38_bytes() -> None:
    assert Hash(X).encode() == bytes(6) + X
    assert decode_payload(bytes(6) + X) == Hash(X)


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
