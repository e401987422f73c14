from __future__ import annotations

import pytest

from tests.wire.services.scripted_node import ScriptedNode, answers
from vmsdk import bls
from vmsdk._pb.warp import message_pb2 as pb
from vmsdk._pb.warp.message_grpc import Signer
from vmsdk.errors import InvalidInput, NodeError
from vmsdk.host.services import NodeServices
from vmsdk.ids import ID
from vmsdk.services.channel import connect
from vmsdk.services.node import NodeConnection
from vmsdk.services.warp import WarpSignerClient
from vmsdk.warp import UnsignedMessage


@pytest.mark.warp
def test_edge_83_a_signature_verifies_under_the_nodes_key(
    services: NodeServices, connection: NodeConnection
) -> None:
    config = services.config
    signature = connection.warp_signer.sign(config.network_id, config.chain_id, b"payload")
    message = UnsignedMessage(config.network_id, config.chain_id, b"payload")
    assert bls.verify(config.identity.public_key, message.encode(), signature)
    other = UnsignedMessage(config.network_id, config.chain_id, b"another payload")
    assert not bls.verify(config.identity.public_key, other.encode(), signature)


def test_edge_83_another_chain_is_refused_first_then_another_network(
    services: NodeServices, connection: NodeConnection
) -> None:
    config = services.config
    for network_id, chain_id, says in (
        (config.network_id, ID.EMPTY, "wrong SourceChainID"),
        (1, ID.EMPTY, "wrong SourceChainID"),
        (1, config.chain_id, "wrong networkID"),
    ):
        with pytest.raises(NodeError, match=rf"^{says}$"):
            connection.warp_signer.sign(network_id, chain_id, b"payload")


def test_what_can_not_be_a_network_or_a_chain_is_refused_and_nothing_is_sent(
    services: NodeServices, connection: NodeConnection
) -> None:
    wrong: ID = bytes(31)  # type: ignore[assignment]
    with pytest.raises(InvalidInput):
        connection.warp_signer.sign(1, wrong, b"payload")
    with pytest.raises(InvalidInput, match="network ID"):
        connection.warp_signer.sign(2**32, ID.EMPTY, b"payload")
    assert not services.warp_signer.calls


def test_a_signature_of_the_wrong_length_is_an_error_of_the_node() -> None:
    with (
        ScriptedNode({Signer.Sign: answers(pb.SignResponse(signature=bytes(95)))}) as node,
        connect(node.address) as channel,
        pytest.raises(NodeError, match="a signature of 95 bytes, not 96"),
    ):
        WarpSignerClient(channel).sign(1, ID.EMPTY, b"payload")
