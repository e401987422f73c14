"""The signature handler: what it signs, and how it refuses."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from vmsdk import bls
from vmsdk._pb.sdk.sdk_pb2 import SignatureResponse
from vmsdk.errors import AppError, NotFound
from vmsdk.ids import ID, NodeID
from vmsdk.warp import SignatureHandler, UnsignedMessage, decode_payload
from vmsdk.warp.handler import CACHED_SIGNATURES

from .messages import NETWORK_ID, UNSIGNED, UNSIGNED_BYTES, X
from .nodes import DEADLINE, Signer, allow, request

PEER = NodeID(b"p" * 20)


@pytest.fixture
def signer() -> Signer:
    return Signer(0)


def refused(handler: SignatureHandler, data: bytes) -> tuple[int, str]:
    with pytest.raises(AppError) as caught:
        handler.app_request(PEER, DEADLINE, data)
    return caught.value.code, caught.value.message


def refusing(error: BaseException) -> Any:
    def verify(message: UnsignedMessage, justification: bytes) -> None:
        raise error

    return verify


@pytest.mark.warp
def test_an_allowed_message_is_signed_with_the_nodes_key(signer: Signer) -> None:
    asked: list[tuple[UnsignedMessage, bytes]] = []
    handler = SignatureHandler(signer.context(), lambda *arguments: asked.append(arguments))
    response = SignatureResponse.FromString(
        handler.app_request(PEER, DEADLINE, request(UNSIGNED_BYTES, b"because"))
    )
    assert bls.verify(bls.public_key(signer.secret), UNSIGNED_BYTES, response.signature)
    assert asked == [(UNSIGNED, b"because")]


def test_a_verifier_that_can_not_be_called_is_refused(signer: Signer) -> None:
    with pytest.raises(TypeError, match=r"^SignatureHandler\(ctx, True\): pass a function verify\("):
        SignatureHandler(signer.context(), True)  # type: ignore[arg-type]


@pytest.mark.warp
def test_a_message_is_verified_and_signed_once(signer: Signer) -> None:
    asked: list[bytes] = []
    handler = SignatureHandler(signer.context(), lambda message, reason: asked.append(reason))
    first, second = (
        handler.app_request(PEER, DEADLINE, request(UNSIGNED_BYTES, reason)) for reason in (b"1", b"2")
    )
    assert first == second
    assert (asked, signer.signed) == ([b"1"], 1)


def test_the_signatures_used_last_are_kept(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmsdk.bls.sign", lambda secret, message: bytes(96))
    handler = SignatureHandler(signer.context(), allow)
    requests = [
        request(UnsignedMessage(NETWORK_ID, X, b"%d" % number).encode())
        for number in range(CACHED_SIGNATURES + 1)
    ]
    for data in (*requests[:-1], requests[0], requests[-1], requests[0]):
        handler.app_request(PEER, DEADLINE, data)
    assert signer.signed == CACHED_SIGNATURES + 1
    handler.app_request(PEER, DEADLINE, requests[1])
    assert signer.signed == CACHED_SIGNATURES + 2


def test_the_verifiers_own_error_reaches_the_peer(signer: Signer) -> None:
    handler = SignatureHandler(signer.context(), refusing(AppError(43, "not accepted yet")))
    assert refused(handler, request(UNSIGNED_BYTES)) == (43, "not accepted yet")
    assert not signer.signed


def test_what_a_verifier_cannot_decode_or_find_is_refused(signer: Signer) -> None:
    def verify(message: UnsignedMessage, justification: bytes) -> None:
        decode_payload(justification)

    handler = SignatureHandler(signer.context(), verify)
    code, message = refused(handler, request(UNSIGNED_BYTES, b"garbage"))
    assert (code, message.startswith("unknown codec version")) == (-1, True)
    handler = SignatureHandler(signer.context(), refusing(NotFound("no such block")))
    assert refused(handler, request(UNSIGNED_BYTES)) == (-1, "no such block")


def test_a_verifier_that_returns_something_signs_nothing(signer: Signer) -> None:
    for value in (True, False):
        handler = SignatureHandler(signer.context(), lambda *_, value=value: value)
        with pytest.raises(TypeError, match=rf"returned {value}, so the message is not signed: return None"):
            handler.app_request(PEER, DEADLINE, request(UNSIGNED_BYTES))
    assert not signer.signed


def test_a_bug_of_the_verifier_is_not_hidden(signer: Signer) -> None:
    handler = SignatureHandler(signer.context(), refusing(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        handler.app_request(PEER, DEADLINE, request(UNSIGNED_BYTES))


def test_messages_of_other_chains_and_networks_are_refused_unseen(signer: Signer) -> None:
    handler = SignatureHandler(signer.context(), refusing(AssertionError("the verifier was called")))
    for network_id, chain_id, text in (
        (NETWORK_ID, ID.EMPTY, "failed to sign message: wrong SourceChainID"),
        (NETWORK_ID + 1, ID.EMPTY, "failed to sign message: wrong SourceChainID"),
        (NETWORK_ID + 1, X, "failed to sign message: wrong networkID"),
    ):
        assert refused(handler, request(UnsignedMessage(network_id, chain_id, b"").encode())) == (-1, text)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xff", "failed to unmarshal request: "),
        (b"", "failed to parse warp unsigned message: couldn't unpack codec version"),
        (request(UNSIGNED_BYTES + b"\0"), "failed to parse warp unsigned message: trailing buffer space"),
    ],
)
def test_garbage_is_refused_with_the_code_and_text_of_gos_handler(
    signer: Signer, data: bytes, text: str
) -> None:
    code, message = refused(SignatureHandler(signer.context(), allow), data)
    assert (code, message[: len(text)]) == (-1, text)


@pytest.mark.warp
def test_a_node_that_does_not_sign_is_reported_once(signer: Signer, caplog: pytest.LogCaptureFixture) -> None:
    handler = SignatureHandler(signer.context(), allow)
    for _ in range(2):
        signer.fails = True
        for _ in range(3):
            failure = refused(handler, request(UNSIGNED_BYTES))
            assert failure == (-1, "failed to sign message: the node has stopped")
        signer.fails = False
        handler.app_request(PEER, DEADLINE, request(UNSIGNED_BYTES))
        handler._signatures.clear()
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert f"does not sign warp message {UNSIGNED.id}: the node has stopped" in warnings[0].getMessage()
