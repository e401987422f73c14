"""The node's signer of warp messages."""

from __future__ import annotations

from vmsdk._pb.warp import message_pb2 as pb
from vmsdk._pb.warp.message_grpc import Signer as Methods
from vmsdk.bls import SIGNATURE_BYTES
from vmsdk.ids import ID
from vmsdk.nodeservices import WarpSigner
from vmsdk.services.call import Call, unsigned
from vmsdk.services.channel import Channel


class WarpSignerClient(WarpSigner):
    """The warp signer behind *channel*."""

    def __init__(self, channel: Channel) -> None:
        self._sign = Call(channel, Methods.Sign)

    def sign(self, network_id: int, source_chain_id: ID, payload: bytes) -> bytes:
        signature = self._sign(
            pb.SignRequest(
                network_id=unsigned("a network ID", network_id, bits=32),
                source_chain_id=ID(source_chain_id),
                payload=payload,
            )
        ).signature
        if len(signature) != SIGNATURE_BYTES:
            raise self._sign.malformed(f"a signature of {len(signature)} bytes, not {SIGNATURE_BYTES}")
        return signature
