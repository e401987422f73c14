"""Warp messages, validator sets and signature requests, beside Go's own library."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from vmsdk import bls
from vmsdk.context import Context
from vmsdk.errors import AppError, InvalidInput, InvalidWarpMessage, WeightOverflow
from vmsdk.ids import ID, NodeID
from vmsdk.nodeservices import NodeServices, Validator, WarpSigner, WarpValidatorSet
from vmsdk.p2p import SIGNATURE_REQUEST
from vmsdk.warp import (
    AddressedCall,
    Aggregator,
    BitSetSignature,
    Hash,
    Message,
    QuorumNotReached,
    SignatureHandler,
    UnsignedMessage,
    decode_payload,
    verify,
)

from .build import NODES_WITH_PEER
from .nodes import Node
from .p2p import GO, NEVER, OURS, Link

pytestmark = pytest.mark.warp

NETWORK_ID = 1337
CHAIN = ID(bytes(range(32)))
ABSENT = NodeID(b"\3" * 20)
SECRETS = [bytes(31) + bytes([number]) for number in range(1, 9)]


@pytest.fixture(params=NODES_WITH_PEER, ids=lambda node: f"node-{node.name}")
def node(request: pytest.FixtureRequest) -> Node:
    """Each release of the peer library that ours is tested with."""
    return cast(Node, request.param)


@pytest.fixture
def link(node: Node) -> Iterator[Link]:
    with Link(node) as link:
        yield link


def unsigned(payload: bytes) -> UnsignedMessage:
    return UnsignedMessage(NETWORK_ID, CHAIN, payload)


def key(secret: bytes) -> bytes:
    return bls.uncompress(bls.public_key(secret))


def lines(validators: Sequence[Validator]) -> list[dict[str, object]]:
    """Validators as the Go program takes them."""
    return [{"node": v.node_id.hex(), "key": v.public_key.hex(), "weight": v.weight} for v in validators]


# Bytes -----------------------------------------------------------------------------------------


def broken(random: random.Random, data: bytes) -> bytes:
    """*data*, cut, longer, or with another byte."""
    at = random.randrange(len(data) + 1)
    return random.choice(
        (data[:at], data + random.randbytes(1), data[:at] + random.randbytes(1) + data[at + 1 :])
    )


def fields(message: UnsignedMessage) -> list[str]:
    values = message.source_chain_id.hex(), message.payload.hex(), message.id.hex()
    return [str(message.network_id), *values]


def decoded(data: bytes) -> dict[str, object]:
    """What *data* is in each of the formats: the rule that it breaks, or what it holds."""

    def as_unsigned() -> list[str]:
        message = UnsignedMessage.decode(data)
        assert message.encode() == data
        return fields(message)

    def as_message() -> list[str]:
        message = Message.decode(data)
        assert message.encode() == data
        signature = message.signature
        try:
            count = len(signature.indices)
        except InvalidWarpMessage:
            count = -1
        return [*fields(message.unsigned), signature.signers.hex(), signature.signature.hex(), str(count)]

    def as_payload() -> list[str]:
        payload = decode_payload(data)
        assert payload.encode() == data
        if isinstance(payload, Hash):
            return [payload.hash.hex()]
        return [payload.source_address.hex(), payload.payload.hex()]

    found: dict[str, object] = {}
    for name, decode in (("unsigned", as_unsigned), ("message", as_message), ("payload", as_payload)):
        try:
            found[name] = decode()
        except InvalidInput as error:
            found[name] = error.rule
    return found


def test_bytes_are_decoded_as_by_go(link: Link) -> None:
    rng = random.Random(15)
    inputs = [b""]
    for _ in range(100):
        payload = rng.choice(
            (Hash(ID(rng.randbytes(32))), AddressedCall(rng.randbytes(20), rng.randbytes(9)))
        )
        message = UnsignedMessage(rng.getrandbits(32), ID(rng.randbytes(32)), payload.encode())
        signature = BitSetSignature(rng.randbytes(rng.randrange(3)), rng.randbytes(96))
        for data in (payload.encode(), message.encode(), Message(message, signature).encode()):
            inputs += [data, *(broken(rng, data) for _ in range(6)), rng.randbytes(rng.randrange(60))]
    inputs += [bytes(6 + 24 * 1024), AddressedCall(b"", bytes(24 * 1024 - 14)).encode()]
    theirs = link.command("decode", warp={"messages": [data.hex() for data in inputs]})
    for data, found in zip(inputs, theirs, strict=True):
        for name, ours in decoded(data).items():
            # Go wraps the rule in more text.
            assert ours in found[name] if isinstance(ours, str) else ours == found[name], data.hex()


# Verification ----------------------------------------------------------------------------------


def some_validators(rng: random.Random) -> list[Validator]:
    """Up to eight validators. Some share a key, and some have none."""
    heaviest = rng.choice((3, 100, 2**60))
    secrets = [rng.choice((*SECRETS, None)) for _ in range(rng.randrange(8))]
    return [
        Validator(NodeID(rng.randbytes(20)), rng.randint(1, heaviest), b"" if secret is None else key(secret))
        for secret in secrets
    ]


def signed(rng: random.Random, validators: WarpValidatorSet) -> Message:
    """A message with the signatures of some validators. Each part may be wrong."""
    message = unsigned(rng.randbytes(10))
    secrets = {key(secret): secret for secret in SECRETS}
    indices = [index for index in range(len(validators.validators)) if rng.random() < 0.8]
    signatures = [
        bls.sign(secrets[validators.validators[index].public_key], message.encode()) for index in indices
    ]
    signature = bls.aggregate_signatures(signatures) if signatures else bytes([0xC0]) + bytes(95)
    bits = BitSetSignature.of(indices, signature)
    match rng.randrange(8):
        case 0:
            return Message(UnsignedMessage(NETWORK_ID + 1, CHAIN, b""), bits)
        case 1:
            return Message(message, BitSetSignature(b"\0" + bits.signers, signature))
        case 2:
            return Message(message, BitSetSignature.of([*indices, rng.randrange(9)], signature))
        case 3:
            return Message(message, BitSetSignature(bits.signers, rng.randbytes(96)))
        case 4:
            return Message(unsigned(b"other"), bits)
        case _:
            return Message(message, bits)


def verdict(message: Message, validators: WarpValidatorSet, num: int, den: int) -> str:
    try:
        verify(message, validators, NETWORK_ID, num, den)
    except InvalidWarpMessage as error:
        return error.rule
    return ""


def test_canonical_sets_and_verdicts_are_gos(link: Link) -> None:
    rng = random.Random(2)
    seen = set()
    for _ in range(60):
        members = some_validators(rng)
        ours = WarpValidatorSet.of(members)
        num, den = rng.choice(((67, 100), (2, 3), (1, 1), (1, 2**64 - 1), (2**64 - 1, 2**64 - 1), (0, 1)))
        messages = [signed(rng, ours) for _ in range(5)]
        theirs = link.command(
            "verify",
            warp={
                "network": NETWORK_ID,
                "validators": lines(members),
                "messages": [message.encode().hex() for message in messages],
                "num": num,
                "den": den,
            },
        )
        assert theirs["total"] == str(ours.total_weight)
        assert [
            (v.public_key.hex(), str(v.weight), {n.hex() for n in v.node_ids}) for v in ours.validators
        ] == [(public_key, weight, set(nodes)) for public_key, weight, nodes in theirs["validators"] or ()]
        for message, theirs_of_it in zip(messages, theirs["verdicts"], strict=True):
            rule = verdict(message, ours, num, den)
            assert theirs_of_it.partition(":")[0] == rule
            seen.add(rule)
    assert seen == {
        "",
        "wrong networkID",
        "bitset is invalid",
        "unknown validator",
        "signature weight is insufficient",
        "failed to parse signature",
        "no public keys",
        "signature is invalid",
    }


def test_weights_that_overflow_make_no_set_in_go_either(link: Link) -> None:
    members = [Validator(OURS, 2**64 - 1), Validator(GO, 1, key(SECRETS[0]))]
    assert "overflow" in link.command("verify", warp={"validators": lines(members)})
    with pytest.raises(WeightOverflow):
        WarpValidatorSet.of(members)


def test_keys_that_cancel_each_other_out_sign_nothing_in_go_either(link: Link) -> None:
    positive = bls.public_key(SECRETS[0])
    negative = bytes([positive[0] ^ 0x20]) + positive[1:]
    members = [Validator(OURS, 1, bls.uncompress(positive)), Validator(GO, 1, bls.uncompress(negative))]
    message = Message(unsigned(b"good"), BitSetSignature.of([0, 1], bytes([0xC0]) + bytes(95)))
    warp = {"network": NETWORK_ID, "validators": lines(members), "messages": [message.encode().hex()]}
    theirs = link.command("verify", warp={**warp, "num": 67, "den": 100})
    assert theirs["verdicts"] == [verdict(message, WarpValidatorSet.of(members), 67, 100)]


# Signature requests ----------------------------------------------------------------------------


def sign(link: Link, secret: bytes) -> None:
    """Make the Go peer sign what begins with `good` or is justified."""
    link.command("sign", warp={"network": NETWORK_ID, "chain": CHAIN.hex(), "secret": secret.hex()})


def test_our_aggregator_gets_gos_signature(link: Link) -> None:
    sign(link, SECRETS[0])
    validators = WarpValidatorSet.of([Validator(GO, 7, key(SECRETS[0]))])
    aggregator = Aggregator(link.network)
    for payload, justification in ((b"good", b""), (b"bad", b"justified")):
        message = aggregator.aggregate(unsigned(payload), validators, justification=justification)
        verify(message, validators, NETWORK_ID)


def test_our_aggregator_hears_why_go_refuses(link: Link) -> None:
    sign(link, SECRETS[0])
    validators = WarpValidatorSet.of([Validator(GO, 7, key(SECRETS[0]))])
    for message, says in (
        (unsigned(b"bad"), r"this payload was not accepted \(application error 43\)"),
        (UnsignedMessage(NETWORK_ID, ID.EMPTY, b"good"), "failed to sign message: wrong SourceChainID"),
        (UnsignedMessage(1, CHAIN, b"good"), "failed to sign message: wrong networkID"),
    ):
        with pytest.raises(QuorumNotReached, match=says):
            Aggregator(link.network).aggregate(message, validators)
    other_key = WarpValidatorSet.of([Validator(GO, 7, key(SECRETS[1]))])
    with pytest.raises(QuorumNotReached, match="its signature is invalid"):
        Aggregator(link.network).aggregate(unsigned(b"good"), other_key)


def test_go_refuses_garbage_as_we_do(link: Link) -> None:
    sign(link, SECRETS[0])
    ours = SignatureHandler(Context(network_id=NETWORK_ID, chain_id=CHAIN), verifier)
    rng = random.Random(118)
    for length in range(60):
        for data in (rng.randbytes(length), b"\x0a" + bytes([length]) + rng.randbytes(length)):
            theirs = link.ask(SIGNATURE_REQUEST, data).exception(0)
            assert isinstance(theirs, AppError)
            with pytest.raises(AppError) as caught:
                ours.app_request(GO, NEVER, data)
            assert caught.value.code == theirs.code
            assert caught.value.message.partition(":")[0] == theirs.message.partition(":")[0]


def verifier(message: UnsignedMessage, justification: bytes) -> None:
    if not message.payload.startswith(b"good"):
        raise AppError(43, "this payload was not accepted")


class OurSigner:
    """The signer of our node."""

    warp_signer = property(lambda self: cast(WarpSigner, self))

    def sign(self, network_id: int, source_chain_id: ID, payload: bytes) -> bytes:
        return bls.sign(SECRETS[0], UnsignedMessage(network_id, source_chain_id, payload).encode())


def aggregate(link: Link, message: UnsignedMessage, validators: list[Validator]) -> tuple[Message, int, int]:
    """What Go's aggregator makes of our signatures: the message, and the weight that signed it."""
    ctx = Context(network_id=NETWORK_ID, chain_id=CHAIN, services=cast(NodeServices, OurSigner()))
    link.network.add_handler(SIGNATURE_REQUEST, SignatureHandler(ctx, verifier))
    warp: dict[str, Any] = {"messages": [message.encode().hex()], "validators": lines(validators)}
    link.command("aggregate", warp={**warp, "num": 67, "den": 100})
    data, signed_weight, total_weight = link.command("aggregated")
    return Message.decode(bytes.fromhex(data)), int(signed_weight), int(total_weight)


def test_gos_aggregator_gets_our_signature(link: Link) -> None:
    validators = [Validator(OURS, 7, key(SECRETS[0]))]
    message, signed_weight, total_weight = aggregate(link, unsigned(b"good"), validators)
    assert (signed_weight, total_weight) == (7, 7)
    verify(message, WarpValidatorSet.of(validators), NETWORK_ID)


def test_gos_aggregator_takes_our_signature_beside_a_node_that_is_gone(link: Link) -> None:
    # Ours is not enough alone, so Go's aggregator reads both responses: once it has enough, its
    # next response waits forever for a reader.
    validators = [Validator(OURS, 5, key(SECRETS[0])), Validator(ABSENT, 4, key(SECRETS[1]))]
    message, signed_weight, total_weight = aggregate(link, unsigned(b"good"), validators)
    assert (signed_weight, total_weight) == (5, 9)
    verify(message, WarpValidatorSet.of(validators), NETWORK_ID, 55, 100)
    assert verdict(message, WarpValidatorSet.of(validators), 56, 100) == "signature weight is insufficient"


def test_gos_aggregator_hears_that_we_refuse(link: Link) -> None:
    message, signed_weight, _ = aggregate(link, unsigned(b"bad"), [Validator(OURS, 7, key(SECRETS[0]))])
    assert (message.signature, signed_weight) == (BitSetSignature(b"", bytes(96)), 0)
