"""The service `warp.Signer`: the node's signature for messages of its chain."""

from __future__ import annotations

import struct

from vmsdk._pb.warp import message_pb2 as pb
from vmsdk._pb.warp.message_grpc import Signer
from vmsdk.host.identity import NodeIdentity
from vmsdk.host.service import NodeService
from vmsdk.ids import ID


class SigningRefused(Exception):
    """The message is not of this chain or not of this network; the text is the node's own."""


class WarpSignerService(NodeService):
    """Signs with the key of *identity* what *chain_id* says on network *network_id*."""

    service = Signer

    def __init__(self, identity: NodeIdentity, network_id: int, chain_id: ID) -> None:
        super().__init__()
        self._identity = identity
        self._network_id = network_id
        self._chain_id = chain_id

    def Sign(self, request: pb.SignRequest) -> pb.SignResponse:
        if ID(request.source_chain_id) != self._chain_id:
            raise SigningRefused("wrong SourceChainID")
        if request.network_id != self._network_id:
            raise SigningRefused("wrong networkID")
        unsigned = struct.pack(">HI", 0, request.network_id) + request.source_chain_id
        unsigned += struct.pack(">I", len(request.payload)) + request.payload
        return pb.SignResponse(signature=self._identity.sign(unsigned))
