"""BLS keys and signatures. The vectors were computed from the definitions and compared with a
node's library.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from vmsdk import bls
from vmsdk.errors import InvalidPublicKey

SECRET_KEY = bytes(range(1, 33))
PUBLIC_KEY = bytes.fromhex(
    "96a20bb9485ff6d8950955a629e8043a43775968ac133eb7b19c5f0389a2253676abdd6c86c7b68d38a1b7f6af8650e7"
)
UNCOMPRESSED = bytes.fromhex(
    "16a20bb9485ff6d8950955a629e8043a43775968ac133eb7b19c5f0389a2253676abdd6c86c7b68d38a1b7f6af8650e7"
    "067b3c68d6b3e68552e01b8fb6f5fc42a04845dca77a6d2d7528c2a3a370faf252d542f1a1e1d476bf5cfb876db27283"
)
MESSAGE = bytes.fromhex(
    "0000000005390102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"
    "00000017" "00000000000100000004aabbccdd0000000568656c6c6f"
)  # fmt: skip
SIGNATURE = bytes.fromhex(
    "8c09139e8df6b8fe34477263d38aeede78cadee57740c5143e33cf8e6f9c3e07bfb4630890468a73e812f50e5eb10f4d"
    "0d699ef6c714120d2b5887e0d23cb10bb4589edccb9b076733583c9253a5588855893a70b208b35d191970ec60fa6bdb"
)
PROOF = bytes.fromhex(
    "9504e19f2a1a76c7e71154eaa58f20c31ab1b19b0cc11f9165592c1e58250b4b3ce78e450635d001dcdc9aaa085e0c06"
    "029471e4181d3f9dae3ee340bd1098b9ae1443c77a7f803afd089f8206c5de89d23fbf5423700f3657191ef1e77622d8"
)
INFINITY = bytes.fromhex("c0" + 47 * "00")
FIELD_MODULUS = (
    0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
)

OUTSIDE_THE_GROUP = bytes.fromhex("80" + 46 * "00" + "04")  # x = 4: a point on the curve
NOT_ON_THE_CURVE = bytes.fromhex("80" + 46 * "00" + "01")  # x = 1: 1 + 4 has no square root in the field
SIGNATURE_NOT_ON_THE_CURVE = bytes([0x80]) + bytes(94) + b"\1"
SIGNATURE_OUTSIDE_THE_GROUP = bytes([0x80]) + bytes(94) + b"\2"
SIGNATURE_AT_INFINITY = bytes([0xC0]) + bytes(95)


def negative(public_key: bytes) -> bytes:
    return bytes([public_key[0] ^ 0x20]) + public_key[1:]


@pytest.mark.warp
def test_edge_98_appendix_a_public_key() -> None:
    assert bls.public_key(SECRET_KEY) == PUBLIC_KEY
    assert bls.uncompress(PUBLIC_KEY) == UNCOMPRESSED
    assert bls.compress(UNCOMPRESSED) == PUBLIC_KEY


@pytest.mark.warp
def test_edge_98_appendix_a_signature() -> None:
    assert bls.sign(SECRET_KEY, MESSAGE) == SIGNATURE
    assert bls.verify(PUBLIC_KEY, MESSAGE, SIGNATURE)
    assert not bls.verify(PUBLIC_KEY, MESSAGE + b"!", SIGNATURE)


@pytest.mark.warp
def test_edge_98_appendix_a_proof_of_possession() -> None:
    assert bls.proof_of_possession(SECRET_KEY) == PROOF
    assert bls.verify_proof_of_possession(PUBLIC_KEY, PROOF)
    assert not bls.verify_proof_of_possession(PUBLIC_KEY, SIGNATURE)


@pytest.mark.warp
def test_both_roots_can_be_compressed_and_uncompressed() -> None:
    x, y = UNCOMPRESSED[:48], int.from_bytes(UNCOMPRESSED[48:], "big")
    uncompressed = x + (FIELD_MODULUS - y).to_bytes(48, "big")
    assert bls.compress(uncompressed) == negative(PUBLIC_KEY)
    assert bls.uncompress(negative(PUBLIC_KEY)) == uncompressed


@pytest.mark.parametrize(
    "public_key",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"garbage", id="garbage"),
        pytest.param(PUBLIC_KEY[:-1], id="too short"),
        pytest.param(PUBLIC_KEY + b"\0", id="too long"),
        pytest.param(UNCOMPRESSED, id="uncompressed"),
        pytest.param(bytes(48), id="not marked as compressed"),
        pytest.param(NOT_ON_THE_CURVE, id="not on the curve"),
        pytest.param(bytes.fromhex("9a" + 47 * "ff"), id="x beyond the field"),
        pytest.param(bytes.fromhex("e0" + 47 * "00"), id="infinity with a sign"),
        pytest.param(bytes.fromhex("c0" + 46 * "00" + "01"), id="infinity with an x"),
        pytest.param(bytes.fromhex("80" + 47 * "00"), id="x = 0, which the nodes' library refuses"),
    ],
)
def test_edge_21_a_malformed_public_key_cannot_be_decompressed(public_key: bytes) -> None:
    with pytest.raises(InvalidPublicKey, match=r"^couldn't decompress public key$"):
        bls.validate_public_key(public_key)


def test_edge_21_the_point_at_infinity_is_an_invalid_public_key() -> None:
    with pytest.raises(InvalidPublicKey, match=r"^invalid public key$"):
        bls.validate_public_key(INFINITY)


@pytest.mark.warp
def test_a_public_key_outside_the_group_is_refused_when_it_is_used() -> None:
    bls.validate_public_key(OUTSIDE_THE_GROUP)
    for use in (bls.uncompress, lambda key: bls.verify(key, MESSAGE, SIGNATURE)):
        with pytest.raises(InvalidPublicKey, match=r"^invalid public key$"):
            use(OUTSIDE_THE_GROUP)


@pytest.mark.warp
@pytest.mark.parametrize(
    "public_key",
    [
        pytest.param(b"", id="empty"),
        pytest.param(UNCOMPRESSED[:-1], id="too short"),
        pytest.param(UNCOMPRESSED + b"\0", id="too long"),
        pytest.param(UNCOMPRESSED[:-1] + b"\0", id="not on the curve"),
        pytest.param(PUBLIC_KEY + UNCOMPRESSED[48:], id="marked as compressed"),
        pytest.param(b"\x40" + bytes(95), id="infinity"),
        pytest.param(b"\xff" * 96, id="beyond the field"),
        pytest.param(bytes(96), id="zeros"),
    ],
)
def test_an_uncompressed_public_key_must_be_on_the_curve(public_key: bytes) -> None:
    with pytest.raises(InvalidPublicKey, match=r"^couldn't deserialize public key$"):
        bls.compress(public_key)


@pytest.mark.warp
def test_public_keys_of_both_forms_add_up_to_the_key_of_the_added_secrets() -> None:
    keys = [bls.public_key(bytes(31) + bytes([number])) for number in (1, 2, 4)]
    total = bls.public_key(bytes(31) + b"\7")
    assert bls.aggregate_public_keys(keys) == total
    assert bls.aggregate_public_keys([bls.uncompress(keys[0]), *keys[1:]]) == total


@pytest.mark.warp
def test_an_aggregate_signature_verifies_with_the_aggregate_key_only() -> None:
    other = bytes(range(2, 34))
    signature = bls.aggregate_signatures([SIGNATURE, bls.sign(other, MESSAGE)])
    both = bls.aggregate_public_keys([PUBLIC_KEY, bls.public_key(other)])
    assert bls.verify(both, MESSAGE, signature)
    assert not bls.verify(PUBLIC_KEY, MESSAGE, signature)


@pytest.mark.warp
def test_a_key_and_its_negative_add_up_to_infinity_which_verifies_nothing() -> None:
    keys = [PUBLIC_KEY, negative(PUBLIC_KEY)]
    assert bls.aggregate_public_keys(keys) == INFINITY
    assert bls.aggregate_public_keys([*keys, PUBLIC_KEY]) == PUBLIC_KEY
    with pytest.raises(InvalidPublicKey):
        bls.verify(INFINITY, MESSAGE, SIGNATURE_AT_INFINITY)


@pytest.mark.warp
def test_no_keys_and_no_signatures_cannot_be_aggregated() -> None:
    with pytest.raises(InvalidPublicKey, match=r"^no public keys$"):
        bls.aggregate_public_keys([])
    with pytest.raises(ValueError, match=r"^no signatures$"):
        bls.aggregate_signatures([])


@pytest.mark.warp
@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(b"", id="empty"),
        pytest.param(SIGNATURE[:-1], id="too short"),
        pytest.param(SIGNATURE + b"\0", id="too long"),
        pytest.param(bytes(96), id="zeros"),
        pytest.param(b"\x9f" + b"\xff" * 95, id="beyond the field"),
        pytest.param(SIGNATURE_NOT_ON_THE_CURVE, id="not on the curve"),
        pytest.param(SIGNATURE_AT_INFINITY[:-1] + b"\1", id="infinity with an x"),
        pytest.param(b"\xe0" + bytes(95), id="infinity with a sign"),
    ],
)
def test_a_malformed_signature_verifies_nothing_and_cannot_be_aggregated(signature: bytes) -> None:
    assert not bls.verify(PUBLIC_KEY, MESSAGE, signature)
    with pytest.raises(ValueError, match=r"^not a BLS signature"):
        bls.aggregate_signatures([SIGNATURE, signature])


@pytest.mark.warp
def test_a_signature_outside_the_group_verifies_nothing() -> None:
    assert not bls.verify(PUBLIC_KEY, MESSAGE, SIGNATURE_OUTSIDE_THE_GROUP)


@pytest.mark.warp
@pytest.mark.parametrize(
    "secret_key",
    [
        pytest.param(b"", id="empty"),
        pytest.param(bytes(31), id="too short"),
        pytest.param(bytes(33), id="too long"),
        pytest.param(bytes(32), id="zero"),
        pytest.param(b"\xff" * 32, id="beyond the group's order"),
    ],
)
def test_a_secret_key_is_32_bytes_within_the_groups_order(secret_key: bytes) -> None:
    for use in (bls.public_key, bls.proof_of_possession, lambda key: bls.sign(key, b"")):
        with pytest.raises(ValueError, match=r"^a BLS secret key is 32 bytes"):
            use(secret_key)


def test_without_the_extra_keys_are_still_checked_and_signing_says_what_to_install() -> None:
    program = f"""
import sys
sys.modules["py_arkworks_bls12381"] = None  # as if it weren't installed: importing it fails
from vmsdk import bls
from vmsdk.errors import MissingExtra
bls.validate_public_key(bytes.fromhex("{PUBLIC_KEY.hex()}"))
for call in (lambda: bls.sign(bytes(32), b""), lambda: bls.public_key(b""), lambda: bls.verify(b"", b"", b"")):
    try:
        call()
    except MissingExtra as error:
        print(error)
"""  # noqa: E501
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.count("pip install 'vmsdk[warp]'") == 3
