"""A message verified at a P-chain height, by a node of each kind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.wire.services.node_starter import NodeStarter
from vmsdk import bls
from vmsdk.context import Context
from vmsdk.errors import InvalidWarpMessage
from vmsdk.ids import ID, NodeID
from vmsdk.nodeservices import CurrentValidator
from vmsdk.warp import BitSetSignature, Message, UnsignedMessage, canonical_set, verify_at

pytestmark = pytest.mark.warp

SUBNET, CHAIN = ID.of(b"subnet"), ID.of(b"chain")
SECRETS = [bytes(31) + bytes([number]) for number in (1, 2, 3)]


@pytest.mark.parametrize("version", [35, 43, 44, 45])
def test_a_message_is_verified_by_the_set_of_the_height(start_node: NodeStarter, version: int) -> None:
    services, connection = start_node(version)
    ctx = Context(network_id=services.config.network_id, services=connection)
    secrets = {bls.uncompress(bls.public_key(secret)): secret for secret in SECRETS}
    validators = [
        CurrentValidator(NodeID(key[:20]), weight, key, validation_id=ID.of(key))
        for key, weight in zip(secrets, (60, 30, 10), strict=True)
    ]
    services.validators.add_chain(CHAIN, SUBNET)
    services.validators.set_heights(current=100)
    services.validators.set_validators(SUBNET, validators, height=50)
    heavier = [validators[0], *(replace(each, weight=60) for each in validators[1:])]
    services.validators.set_validators(SUBNET, heavier, height=60)

    order = [each.public_key for each in canonical_set(ctx, CHAIN, 50).validators]
    unsigned = UnsignedMessage(ctx.network_id, CHAIN, b"payload")
    signers = [validators[0].public_key, validators[2].public_key]
    signature = bls.aggregate_signatures([bls.sign(secrets[key], unsigned.encode()) for key in signers])
    message = Message(unsigned, BitSetSignature.of(map(order.index, signers), signature))
    verify_at(ctx, message, 50)
    with pytest.raises(InvalidWarpMessage, match=r"insufficient: 67\*180 > 100\*120"):
        verify_at(ctx, message, 60)


@pytest.mark.parametrize("version", [43, 45])
def test_a_chain_that_the_node_does_not_know_is_the_messages_fault(
    start_node: NodeStarter, version: int
) -> None:
    services, connection = start_node(version)
    ctx = Context(network_id=services.config.network_id, services=connection)
    message = Message(UnsignedMessage(ctx.network_id, CHAIN, b""), BitSetSignature(b"\1", bytes(96)))
    with pytest.raises(InvalidWarpMessage, match="unknown source chain"):
        verify_at(ctx, message, 0)
