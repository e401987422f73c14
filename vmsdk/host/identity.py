"""Who the node is: its ID and its BLS key."""

from __future__ import annotations

from functools import cached_property

from vmsdk import bls
from vmsdk.ids import NodeID

# The key pair of the test vectors (tests/unit/test_bls.py), used by every host unless told otherwise. Its public
# key stands here so that a host without a BLS library can run a chain.
_DEFAULT_SECRET_KEY = bytes(range(1, 33))
_DEFAULT_PUBLIC_KEY = bytes.fromhex(
    "96a20bb9485ff6d8950955a629e8043a43775968ac133eb7b19c5f0389a2253676abdd6c86c7b68d38a1b7f6af8650e7"
)
_DEFAULT_UNCOMPRESSED = bytes.fromhex(
    "16a20bb9485ff6d8950955a629e8043a43775968ac133eb7b19c5f0389a2253676abdd6c86c7b68d38a1b7f6af8650e7"
    "067b3c68d6b3e68552e01b8fb6f5fc42a04845dca77a6d2d7528c2a3a370faf252d542f1a1e1d476bf5cfb876db27283"
)

DEFAULT_NODE_ID = NodeID(bytes(range(1, 21)))


class NodeIdentity:
    """A node ID with the BLS key that belongs to it. *secret_key* is 32 bytes, big-endian.

    The keys of any but the default secret need the extra `warp`; without it they raise `MissingExtra`.
    """

    def __init__(self, node_id: NodeID = DEFAULT_NODE_ID, secret_key: bytes = _DEFAULT_SECRET_KEY) -> None:
        self.node_id = node_id
        self._secret_key = secret_key

    @cached_property
    def public_key(self) -> bytes:
        """48 bytes, compressed BLS12-381 G1."""
        if self._secret_key == _DEFAULT_SECRET_KEY:
            return _DEFAULT_PUBLIC_KEY
        return bls.public_key(self._secret_key)

    @cached_property
    def uncompressed_public_key(self) -> bytes:
        """96 bytes, as validator sets carry it."""
        if self._secret_key == _DEFAULT_SECRET_KEY:
            return _DEFAULT_UNCOMPRESSED
        return bls.uncompress(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """The 96-byte signature of *message*, in the proof-of-possession ciphersuite."""
        return bls.sign(self._secret_key, message)
