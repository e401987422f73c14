from __future__ import annotations

import pytest

from tests.wire.services.scripted_node import ScriptedNode, answers
from vmsdk._pb.aliasreader import aliasreader_pb2 as pb
from vmsdk._pb.aliasreader.aliasreader_grpc import AliasReader as Methods
from vmsdk.errors import InvalidInput, NodeError
from vmsdk.host.services import NodeServices
from vmsdk.ids import ID
from vmsdk.nodeservices import AliasReader
from vmsdk.services.aliases import AliasReaderClient
from vmsdk.services.channel import connect
from vmsdk.services.node import NodeConnection

CHAIN = ID.of(b"a chain with names")


@pytest.fixture
def aliases(connection: NodeConnection) -> AliasReader:
    return connection.aliases


def test_a_chain_is_found_by_its_names_and_its_names_by_the_chain(
    services: NodeServices, aliases: AliasReader
) -> None:
    services.aliases.add(CHAIN, "first")
    services.aliases.add(CHAIN, "second")
    assert aliases.lookup("second") == CHAIN
    assert aliases.primary_alias(CHAIN) == "first"
    assert aliases.aliases(CHAIN) == ["first", "second"]


def test_an_unknown_name_and_a_nameless_chain_are_the_nodes_errors(aliases: AliasReader) -> None:
    with pytest.raises(NodeError, match=r"^there is no ID with alias: nobody$"):
        aliases.lookup("nobody")
    with pytest.raises(NodeError, match=rf"^there is no alias for ID: {CHAIN}$"):
        aliases.primary_alias(CHAIN)
    assert aliases.aliases(CHAIN) == []


def test_a_chain_id_of_the_wrong_length_is_refused_and_nothing_is_sent(
    services: NodeServices, aliases: AliasReader
) -> None:
    wrong: ID = bytes(20)  # type: ignore[assignment]
    for ask in (aliases.primary_alias, aliases.aliases):
        with pytest.raises(InvalidInput):
            ask(wrong)
    assert not services.aliases.calls


def test_an_id_of_the_wrong_length_is_an_error_of_the_node() -> None:
    with (
        ScriptedNode({Methods.Lookup: answers(pb.ID(id=bytes(31)))}) as node,
        connect(node.address) as channel,
        pytest.raises(NodeError, match="expected 32 bytes but got 31") as caught,
    ):
        AliasReaderClient(channel).lookup("P")
    assert (caught.value.method, caught.value.code) == ("/aliasreader.AliasReader/Lookup", "INTERNAL")
