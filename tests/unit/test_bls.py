"""BLS keys and signatures. The vectors were computed from the definitions, and compared with a node's library."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vmsdk import bls
from vmsdk.errors import InvalidPublicKey, InvalidSecretKey, InvalidSignature

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

OUTSIDE_THE_GROUP = bytes.fromhex("80" + 46 * "00" + "04")  # x = 4: a point of the curve
NO_POINT = bytes.fromhex("80" + 46 * "00" + "01")  # x = 1: 1 + 4 has no square root in the field


def test_edge_98_appendix_a_public_key() -> None:
    assert bls.public_key(SECRET_KEY) == PUBLIC_KEY
    assert bls.uncompress(PUBLIC_KEY) == UNCOMPRESSED
    assert bls.compress(UNCOMPRESSED) == PUBLIC_KEY


def test_edge_98_appendix_a_signature() -> None:
    assert bls.sign(SECRET_KEY, MESSAGE) == SIGNATURE
    assert bls.verify(PUBLIC_KEY, MESSAGE, SIGNATURE)
    assert not bls.verify(PUBLIC_KEY, MESSAGE + b"!", SIGNATURE)


def test_edge_98_appendix_a_proof_of_possession() -> None:
    assert bls.proof_of_possession(SECRET_KEY) == PROOF
    assert bls.verify_proof_of_possession(PUBLIC_KEY, PROOF)
    assert not bls.verify_proof_of_possession(PUBLIC_KEY, SIGNATURE)


def test_both_roots_of_the_curve_can_be_written() -> None:
    x, y = UNCOMPRESSED[:48], int.from_bytes(UNCOMPRESSED[48:], "big")
    negative = x + (FIELD_MODULUS - y).to_bytes(48, "big")
    assert bls.compress(negative)[0] == PUBLIC_KEY[0] ^ 0x20
    assert bls.uncompress(bls.compress(negative)) == negative


@pytest.mark.parametrize(
    "public_key",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"garbage", id="garbage"),
        pytest.param(PUBLIC_KEY[:-1], id="too short"),
        pytest.param(PUBLIC_KEY + b"\0", id="too long"),
        pytest.param(UNCOMPRESSED, id="uncompressed"),
        pytest.param(bytes(48), id="not marked as compressed"),
        pytest.param(NO_POINT, id="not on the curve"),
        pytest.param(bytes.fromhex("9a" + 47 * "ff"), id="x beyond the field"),
        pytest.param(bytes.fromhex("e0" + 47 * "00"), id="infinity with a sign"),
        pytest.param(bytes.fromhex("c0" + 46 * "00" + "01"), id="infinity with an x"),
        pytest.param(bytes.fromhex("80" + 47 * "00"), id="x = 0, which the nodes' library refuses"),
    ],
)
def test_edge_21_bytes_that_are_no_point_could_not_be_decompressed(public_key: bytes) -> None:
    with pytest.raises(InvalidPublicKey, match=r"^couldn't decompress public key$"):
        bls.validate_public_key(public_key)


def test_edge_21_the_point_at_infinity_is_invalid() -> None:
    with pytest.raises(InvalidPublicKey, match=r"^invalid public key$"):
        bls.validate_public_key(INFINITY)


def test_edge_21_a_point_outside_the_group_is_invalid() -> None:
    with pytest.raises(InvalidPublicKey, match=r"^invalid public key$"):
        bls.validate_public_key(OUTSIDE_THE_GROUP)


@pytest.mark.parametrize("order", [11, 10_177, 859_267, 52_437_899])
def test_edge_21_a_point_of_small_order_is_invalid(order: int) -> None:
    """Points that a cheaper check than the full one could take for members of the group."""
    from py_ecc.bls.g2_primitives import G1_to_pubkey, pubkey_to_G1
    from py_ecc.optimized_bls12_381.optimized_curve import curve_order, is_inf, multiply

    points_of_the_curve = curve_order * 3 * (11 * 10_177 * 859_267 * 52_437_899) ** 2
    point = multiply(pubkey_to_G1(OUTSIDE_THE_GROUP), points_of_the_curve // order**2)  # type: ignore[arg-type]
    assert not is_inf(point)
    assert is_inf(multiply(point, order))
    with pytest.raises(InvalidPublicKey, match=r"^invalid public key$"):
        bls.validate_public_key(bytes(G1_to_pubkey(point)))


@pytest.mark.parametrize("scalar", [1, 2, 3, 0xD201000000010000, 2**254, -1])
def test_multiples_of_the_generator_are_valid(scalar: int) -> None:
    from py_ecc.bls.g2_primitives import G1_to_pubkey
    from py_ecc.optimized_bls12_381.optimized_curve import G1, curve_order, multiply

    bls.validate_public_key(bytes(G1_to_pubkey(multiply(G1, scalar % curve_order))))


@pytest.mark.parametrize(
    "public_key",
    [
        pytest.param(b"", id="empty"),
        pytest.param(UNCOMPRESSED[:-1], id="too short"),
        pytest.param(UNCOMPRESSED[:-1] + b"\0", id="not on the curve"),
        pytest.param(PUBLIC_KEY + UNCOMPRESSED[48:], id="marked as compressed"),
        pytest.param(b"\xff" * 96, id="beyond the field"),
        pytest.param(bytes(96), id="zeros"),
    ],
)
def test_an_uncompressed_key_must_be_on_the_curve(public_key: bytes) -> None:
    with pytest.raises(InvalidPublicKey, match=r"^couldn't deserialize public key$"):
        bls.compress(public_key)


def test_keys_of_both_forms_add_up_to_the_key_of_the_added_secrets() -> None:
    secrets = [bytes(31) + bytes([number]) for number in (1, 2, 4)]
    keys = [bls.public_key(secret) for secret in secrets]
    total = bls.public_key(bytes(31) + b"\7")
    assert bls.aggregate_public_keys(keys) == total
    assert bls.aggregate_public_keys([bls.uncompress(keys[0]), *keys[1:]]) == total


def test_a_key_and_its_negative_add_up_to_infinity_which_verifies_nothing() -> None:
    negative = bytes([PUBLIC_KEY[0] ^ 0x20]) + PUBLIC_KEY[1:]
    assert bls.aggregate_public_keys([PUBLIC_KEY, negative]) == INFINITY
    assert bls.aggregate_public_keys([PUBLIC_KEY, negative, PUBLIC_KEY]) == PUBLIC_KEY
    with pytest.raises(InvalidPublicKey):
        bls.verify(INFINITY, MESSAGE, SIGNATURE)


def test_there_is_no_sum_of_no_keys_or_no_signatures() -> None:
    with pytest.raises(InvalidPublicKey, match=r"^no public keys$"):
        bls.aggregate_public_keys([])
    with pytest.raises(InvalidSignature, match=r"^no signatures$"):
        bls.aggregate_signatures([])


def test_added_signatures_verify_with_added_keys() -> None:
    other = bytes(range(2, 34))
    signature = bls.aggregate_signatures([SIGNATURE, bls.sign(other, MESSAGE)])
    both = bls.aggregate_public_keys([PUBLIC_KEY, bls.public_key(other)])
    assert bls.verify(both, MESSAGE, signature)
    assert not bls.verify(PUBLIC_KEY, MESSAGE, signature)


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(b"", id="empty"),
        pytest.param(SIGNATURE[:-1], id="too short"),
        pytest.param(SIGNATURE + b"\0", id="too long"),
        pytest.param(bytes(96), id="zeros"),
        pytest.param(b"\xff" * 96, id="beyond the field"),
        pytest.param(bytes([0x80]) + bytes(94) + b"\1", id="not on the curve"),
    ],
)
def test_bytes_that_are_no_signature_could_not_be_decompressed(signature: bytes) -> None:
    with pytest.raises(InvalidSignature, match=r"^couldn't decompress signature$"):
        bls.validate_signature(signature)


def test_a_signature_outside_the_group_is_invalid() -> None:
    with pytest.raises(InvalidSignature, match=r"^invalid signature$"):
        bls.validate_signature(bytes([0x80]) + bytes(94) + b"\2")


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
        with pytest.raises(InvalidSecretKey, match=r"^invalid secret key"):
            use(secret_key)


def test_without_py_ecc_keys_are_still_checked_and_signing_says_what_to_install() -> None:
    program = f"""
import sys
sys.modules["py_ecc"] = None  # an import of it fails like that of a package which is not installed
from vmsdk import bls
from vmsdk.errors import MissingExtra
bls.validate_public_key(bytes.fromhex("{PUBLIC_KEY.hex()}"))
for call in (lambda: bls.sign(bytes(32), b""), lambda: bls.public_key(b""), lambda: bls.verify(b"", b"", b"")):
    try:
        call()
    except MissingExtra as error:
        print(error)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.count("pip install 'vmsdk[warp]'") == 3
