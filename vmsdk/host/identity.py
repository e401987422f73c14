"""The node's identity: its ID, its BLS key, and its signatures for the chain."""

from __future__ import annotations

import struct
from functools import cached_property

from vmsdk import bls
from vmsdk._pb.warp import message_pb2 as pb
from vmsdk._pb.warp.message_grpc import Signer
from vmsdk.host.service import NodeService, ServiceError
from vmsdk.ids import ID, NodeID

# The key pair in the vectors of tests/unit/test_bls.py. With the public key as a constant, a host
# needs no BLS library to initialise a chain.
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
    """A node ID and a BLS key. *secret_key* is 32 bytes, big-endian.

    Without the extra `warp`, signing and other secret keys than the default raise `MissingExtra`.
    """

    def __init__(self, node_id: NodeID = DEFAULT_NODE_ID, secret_key: bytes = _DEFAULT_SECRET_KEY) -> None:
        self.node_id = node_id
        self._secret_key = secret_key

    @cached_property
    def public_key(self) -> bytes:
        """The public key: 48 bytes, compressed BLS12-381 G1."""
        if self._secret_key == _DEFAULT_SECRET_KEY:
            return _DEFAULT_PUBLIC_KEY
        return bls.public_key(self._secret_key)

    @cached_property
    def uncompressed_public_key(self) -> bytes:
        """The public key as validator sets have it: 96 bytes."""
        if self._secret_key == _DEFAULT_SECRET_KEY:
            return _DEFAULT_UNCOMPRESSED
        return bls.uncompress(self.public_key)

    @cached_property
    def proof_of_possession(self) -> bytes:
        """The signature of the public key with the secret key: 96 bytes."""
        return bls.proof_of_possession(self._secret_key)

    def sign(self, message: bytes) -> bytes:
        """Sign *message*: 96 bytes, in the proof-of-possession ciphersuite."""
        return bls.sign(self._secret_key, message)


class WarpSignerService(NodeService):
    """The service `warp.Signer`: signs messages of chain *chain_id* on network *network_id*."""

    service = Signer

    def __init__(self, identity: NodeIdentity, network_id: int, chain_id: ID) -> None:
        super().__init__()
        self._identity = identity
        self._network_id = network_id
        self._chain_id = chain_id

    def Sign(self, request: pb.SignRequest) -> pb.SignResponse:
        if ID(request.source_chain_id) != self._chain_id:
            raise ServiceError("wrong SourceChainID")
        if request.network_id != self._network_id:
            raise ServiceError("wrong networkID")
        unsigned = struct.pack(">HI", 0, request.network_id) + request.source_chain_id
        unsigned += struct.pack(">I", len(request.payload)) + request.payload
        return pb.SignResponse(signature=self._identity.sign(unsigned))
