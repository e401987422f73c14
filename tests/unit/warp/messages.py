"""A message of which every byte is known, as in appendix A of the protocol's description."""

from __future__ import annotations

from vmsdk.ids import ID
from vmsdk.warp import AddressedCall, UnsignedMessage

NETWORK_ID = 1337
X = ID(bytes(range(1, 33)))
CALL = AddressedCall(bytes.fromhex("aabbccdd"), b"hello")
CALL_BYTES = bytes.fromhex("00000000000100000004aabbccdd0000000568656c6c6f")
UNSIGNED = UnsignedMessage(NETWORK_ID, X, CALL_BYTES)
UNSIGNED_BYTES = bytes.fromhex(
    "0000000005390102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"
    "0000001700000000000100000004aabbccdd0000000568656c6c6f"
)

SIGNATURE = bytes.fromhex(
    "8c09139e8df6b8fe34477263d38aeede78cadee57740c5143e33cf8e6f9c3e07bfb4630890468a73e812f50e5eb10f4d"
    "0d699ef6c714120d2b5887e0d23cb10bb4589edccb9b076733583c9253a5588855893a70b208b35d191970ec60fa6bdb"
)
