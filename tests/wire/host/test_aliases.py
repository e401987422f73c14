"""The service `aliasreader.AliasReader`, over the wire."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from tests.wire.host.rawstub import RawStub, error_of
from vmsdk._pb._service import Service
from vmsdk._pb.aliasreader import aliasreader_pb2 as pb
from vmsdk._pb.aliasreader.aliasreader_grpc import AliasReader
from vmsdk.host.services import NodeServices
from vmsdk.ids import ID

UNKNOWN = grpc.StatusCode.UNKNOWN
CHAIN = ID(bytes(range(32)))


@pytest.fixture
def aliases(services: NodeServices, stub: Callable[[str, type[Service]], RawStub]) -> RawStub:
    return stub(services.address, AliasReader)


def test_the_primary_networks_chains_have_their_letters(services: NodeServices, aliases: RawStub) -> None:
    assert aliases.Lookup(pb.Alias(alias="P")).id == bytes(32)
    assert aliases.Lookup(pb.Alias(alias="X")).id == services.config.x_chain_id
    assert aliases.PrimaryAlias(pb.ID(id=services.config.c_chain_id)).alias == "C"


def test_an_unknown_alias_is_an_error(aliases: RawStub) -> None:
    assert error_of(aliases.Lookup, pb.Alias(alias="nobody")) == (
        UNKNOWN,
        "there is no ID with alias: nobody",
    )


def test_a_chain_without_a_name_has_no_primary_alias_and_an_empty_list(aliases: RawStub) -> None:
    expected = (UNKNOWN, f"there is no alias for ID: {CHAIN}")
    assert error_of(aliases.PrimaryAlias, pb.ID(id=CHAIN)) == expected
    assert list(aliases.Aliases(pb.ID(id=CHAIN)).aliases) == []


def test_the_first_name_is_the_primary_one(services: NodeServices, aliases: RawStub) -> None:
    services.aliases.add(CHAIN, "first")
    services.aliases.add(CHAIN, "second")
    assert aliases.PrimaryAlias(pb.ID(id=CHAIN)).alias == "first"
    assert list(aliases.Aliases(pb.ID(id=CHAIN)).aliases) == ["first", "second"]


def test_a_name_belongs_to_one_chain(services: NodeServices) -> None:
    with pytest.raises(ValueError, match="'X' is already the name of chain"):
        services.aliases.add(CHAIN, "X")


def test_an_id_of_the_wrong_length_is_an_error(aliases: RawStub) -> None:
    expected = (UNKNOWN, "invalid hash length: expected 32 bytes but got 20")
    assert error_of(aliases.PrimaryAlias, pb.ID(id=bytes(20))) == expected
    assert error_of(aliases.Aliases, pb.ID(id=bytes(20))) == expected
