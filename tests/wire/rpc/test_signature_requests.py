"""Signature requests (ACP-118) over the wire, to a VM with a `SignatureHandler`."""

from __future__ import annotations

import random

import pytest

import vmsdk
from vmsdk import bls, p2p, warp
from vmsdk._pb.sdk.sdk_pb2 import SignatureRequest, SignatureResponse
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.appsender import SentError, SentResponse
from vmsdk.ids import ID, NodeID

from .conftest import Serve, Served
from .plainvm import PlainVM

PEER = NodeID(bytes([7]) * 20)
PREFIX = bytes([p2p.SIGNATURE_REQUEST])
GARBAGE = 1000


class SigningVM(p2p.Networked, PlainVM):
    """Signs payloads that begin with `good`."""

    def initialize(self, ctx: vmsdk.Context, genesis: bytes, upgrade: bytes, config: bytes) -> None:
        super().initialize(ctx, genesis, upgrade, config)
        self.network.add_handler(p2p.SIGNATURE_REQUEST, warp.SignatureHandler(ctx, self.verify_message))

    def verify_message(self, message: warp.UnsignedMessage, justification: bytes) -> None:
        if not message.payload.startswith(b"good"):
            raise vmsdk.AppError(43, "this payload was not accepted")


def send(served: Served, request_id: int, data: bytes) -> None:
    served.client.AppRequest(pb.AppRequestMsg(node_id=PEER, request_id=request_id, request=PREFIX + data))


def message(served: Served, payload: bytes) -> warp.UnsignedMessage:
    return warp.UnsignedMessage(served.config.network_id, served.config.chain_id, payload)


def test_a_thousand_bad_requests_get_a_refusal_each_and_leave_no_line_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve(SigningVM())
    bytes_of = random.Random(118).randbytes
    caplog.clear()
    for request_id in range(GARBAGE):
        good = message(served, b"good" + bytes_of(8))
        send(
            served,
            request_id,
            (
                bytes_of(request_id % 100),
                SignatureRequest(message=bytes_of(request_id % 100)).SerializeToString(),
                SignatureRequest(message=good.encode()[:-1]).SerializeToString(),
                SignatureRequest(
                    message=warp.UnsignedMessage(good.network_id, ID(bytes_of(32)), good.payload).encode()
                ).SerializeToString(),
                SignatureRequest(message=message(served, bytes_of(8)).encode()).SerializeToString(),
            )[request_id % 5],
        )
    refusals = [sent for sent in served.services.app_sender.sent if isinstance(sent, SentError)]
    assert [sent.request_id for sent in refusals] == list(range(GARBAGE))
    assert {sent.code for sent in refusals} == {-1, 43}
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []
    assert served.session.faults.counts() == {}
    assert not served.services.warp_signer.calls


@pytest.mark.warp
def test_the_node_signs_what_the_vm_allows(serve: Serve) -> None:
    served = serve(SigningVM())
    good = message(served, b"good")
    send(served, 1, SignatureRequest(message=good.encode()).SerializeToString())
    response = served.services.app_sender.wait_for(SentResponse).response
    signature = SignatureResponse.FromString(response).signature
    assert bls.verify(served.config.identity.public_key, good.encode(), signature)
