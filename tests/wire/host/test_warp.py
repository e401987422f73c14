"""The service `warp.Signer`, over the wire."""

from __future__ import annotations

import sys
from collections.abc import Callable

import grpc
import pytest

from tests.wire.host.rawstub import RawStub, error_of
from vmsdk import bls
from vmsdk._pb._service import Service
from vmsdk._pb.warp import message_pb2 as pb
from vmsdk._pb.warp.message_grpc import Signer
from vmsdk.host.identity import NodeIdentity
from vmsdk.host.services import NodeServices
from vmsdk.ids import ID

UNKNOWN = grpc.StatusCode.UNKNOWN
# The unsigned message of the protocol's test vectors, and its parts.
NETWORK_ID = 1337
CHAIN_ID = ID(bytes(range(1, 33)))
PAYLOAD = bytes.fromhex("00000000000100000004aabbccdd0000000568656c6c6f")
UNSIGNED = bytes.fromhex(
    "0000000005390102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"
    "0000001700000000000100000004aabbccdd0000000568656c6c6f"
)
SIGNATURE = bytes.fromhex(
    "8c09139e8df6b8fe34477263d38aeede78cadee57740c5143e33cf8e6f9c3e07bfb4630890468a73e812f50e5eb10f4d"
    "0d699ef6c714120d2b5887e0d23cb10bb4589edccb9b076733583c9253a5588855893a70b208b35d191970ec60fa6bdb"
)


@pytest.fixture
def services(start_services: Callable[..., NodeServices]) -> NodeServices:
    return start_services(network_id=NETWORK_ID, chain_id=CHAIN_ID)


@pytest.fixture
def signer(services: NodeServices, stub: Callable[[str, type[Service]], RawStub]) -> RawStub:
    return stub(services.address, Signer)


def request(network_id: int = NETWORK_ID, chain_id: bytes = CHAIN_ID) -> pb.SignRequest:
    return pb.SignRequest(network_id=network_id, source_chain_id=chain_id, payload=PAYLOAD)


@pytest.mark.warp
def test_edge_83_a_good_message_is_signed_like_the_test_vector(signer: RawStub) -> None:
    assert signer.Sign(request()).signature == SIGNATURE


@pytest.mark.warp
def test_edge_83_the_signature_verifies_under_the_nodes_key(signer: RawStub) -> None:
    signature = signer.Sign(request()).signature
    assert bls.verify(NodeIdentity().public_key, UNSIGNED, signature)


def test_edge_83_another_chain_is_refused_and_checked_first(signer: RawStub) -> None:
    assert error_of(signer.Sign, request(network_id=1, chain_id=bytes(32))) == (
        UNKNOWN,
        "wrong SourceChainID",
    )


def test_edge_83_another_network_is_refused(signer: RawStub) -> None:
    assert error_of(signer.Sign, request(network_id=1)) == (UNKNOWN, "wrong networkID")


def test_a_chain_id_of_the_wrong_length_is_an_error(signer: RawStub) -> None:
    assert error_of(signer.Sign, request(chain_id=bytes(31))) == (
        UNKNOWN,
        "invalid hash length: expected 32 bytes but got 31",
    )


def test_without_a_bls_library_the_error_shows_what_to_install(
    signer: RawStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "py_arkworks_bls12381", None)
    code, details = error_of(signer.Sign, request())
    assert code is UNKNOWN
    assert "pip install 'vmsdk[warp]'" in details


@pytest.mark.warp
def test_the_default_public_keys_belong_to_the_default_secret() -> None:
    identity = NodeIdentity()
    other = NodeIdentity(secret_key=bytes(31) + b"\x01")
    assert identity.public_key == bls.public_key(bytes(range(1, 33)))
    assert identity.uncompressed_public_key == bls.uncompress(identity.public_key)
    assert len(other.public_key) == 48
    assert len(other.uncompressed_public_key) == 96
    assert other.public_key != identity.public_key
