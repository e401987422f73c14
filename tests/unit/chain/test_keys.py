"""Keys, signatures and addresses."""

from __future__ import annotations

import hashlib
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vmsdk.chain import keys
from vmsdk.chain.keys import Ed25519Key, PrivateKey, Secp256k1Key
from vmsdk.errors import InvalidInput

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
KINDS = pytest.mark.parametrize("kind", [Ed25519Key, Secp256k1Key])


@KINDS
def test_a_signature_is_good_for_one_key_and_one_message(kind: type[PrivateKey]) -> None:
    key, other = kind.generate(), kind.generate()
    signature = key.sign(b"message")
    assert len(signature) == 64
    assert len(key.public_key) == 33
    assert keys.verify(key.public_key, b"message", signature)
    assert not keys.verify(key.public_key, b"massage", signature)
    assert not keys.verify(other.public_key, b"message", signature)


@KINDS
def test_changing_any_bit_spoils_a_signature(kind: type[PrivateKey]) -> None:
    key = kind.from_hex("11" * 32)
    signed = key.public_key + key.sign(b"message")
    for bit in range(8 * len(signed)):
        changed = bytearray(signed)
        changed[bit // 8] ^= 1 << bit % 8
        assert not keys.verify(bytes(changed[:33]), b"message", bytes(changed[33:])), bit


def test_ed25519_is_that_of_rfc_8032() -> None:
    # Section 7.1, test 3.
    key = Ed25519Key.from_hex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
    assert key.public_key.hex() == "ed" + "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
    assert key.sign(b"\xaf\x82").hex() == (
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )


def test_secp256k1_has_its_generator_as_the_public_key_of_1() -> None:
    key = Secp256k1Key((1).to_bytes(32, "big"))
    assert key.public_key.hex() == "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


def test_secp256k1_signatures_have_a_low_s_and_the_high_one_is_refused() -> None:
    key = Secp256k1Key.from_hex("22" * 32)
    for i in range(20):
        signature = key.sign(bytes([i]))
        s = int.from_bytes(signature[32:], "big")
        assert s <= ORDER // 2
        assert not keys.verify(key.public_key, bytes([i]), signature[:32] + (ORDER - s).to_bytes(32, "big"))


@pytest.mark.parametrize("r", [0, ORDER, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1])
def test_secp256k1_refuses_numbers_out_of_range(r: int, s: int) -> None:
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert not keys.verify(Secp256k1Key.generate().public_key, b"", signature)


def test_ed25519_refuses_a_number_from_the_order_on() -> None:
    key = Ed25519Key.generate()
    signature = key.sign(b"message")
    s = int.from_bytes(signature[32:], "little") + ED25519_ORDER
    assert not keys.verify(key.public_key, b"message", signature[:32] + s.to_bytes(32, "little"))


@pytest.mark.parametrize(
    "public_key",
    [
        "01" + "00" * 31,  # the identity, for which one signature fits every message
        "ee" + "ff" * 30 + "7f",  # the identity, not canonical
        "ec" + "ff" * 30 + "7f",  # order 2
        "00" * 32,  # order 4
    ],
)
def test_ed25519_refuses_keys_of_small_order(public_key: str) -> None:
    identity = bytes.fromhex("01" + "00" * 63)
    assert not keys.verify(bytes.fromhex("ed" + public_key), b"message", identity)


@pytest.mark.parametrize(
    "public_key",
    [
        b"",
        bytes(33),
        b"\x04" + bytes(64),
        b"\x02" + b"\xff" * 32,
        b"\x02" + bytes(32),
        bytes(32),
        b"\xed" * 34,
    ],
)
def test_bytes_that_are_not_a_key_verify_nothing(public_key: bytes) -> None:
    assert not keys.verify(public_key, b"message", Secp256k1Key.generate().sign(b"message"))


def test_signatures_of_other_lengths_verify_nothing() -> None:
    key = Ed25519Key.generate()
    for signature in (b"", key.sign(b"")[:63], key.sign(b"") + b"\0"):
        assert not keys.verify(key.public_key, b"", signature)
    assert not keys.verify(key.public_key, b"b", key.sign(b"ab") + b"a")


def test_an_address_is_the_start_of_the_hash_of_the_public_key() -> None:
    key = Ed25519Key.generate()
    assert key.address == keys.address_of(key.public_key) == hashlib.sha256(key.public_key).digest()[:20]


@KINDS
@pytest.mark.parametrize("password", [None, b"secret"])
def test_a_key_survives_hex_pem_and_a_file(
    kind: type[PrivateKey], password: bytes | None, tmp_path: Path
) -> None:
    key = kind.generate()
    assert kind.from_hex("0x" + key.to_hex() + "\n").public_key == key.public_key
    path = tmp_path / "key.pem"
    key.save(path, password)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loaded = keys.load(path, password)
    assert (type(loaded), loaded.to_hex()) == (kind, key.to_hex())
    with pytest.raises(FileExistsError):
        kind.generate().save(path)
    assert keys.load(path, password).to_hex() == key.to_hex()


def test_an_empty_password_does_not_leave_a_key_unencrypted(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="the password must be non-empty bytes; pass None"):
        Ed25519Key.generate().save(tmp_path / "key.pem", b"")
    assert not any(tmp_path.iterdir())


def test_a_key_needs_the_right_password() -> None:
    pem = Ed25519Key.generate().to_pem(b"secret")
    for password in (None, b"other"):
        with pytest.raises(InvalidInput, match="not a private key in PEM, or the wrong password"):
            keys.from_pem(pem, password)


def test_pem_that_holds_something_else_is_refused() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(InvalidInput, match="only Ed25519 and secp256k1 keys sign"):
        keys.from_pem(pem)
    with pytest.raises(InvalidInput, match="not a private key in PEM"):
        keys.from_pem(b"hello")


@pytest.mark.parametrize("text", ["", "11" * 31, "11" * 33, "zz" * 32])
@KINDS
def test_a_bad_secret_is_refused_without_being_shown(kind: type[PrivateKey], text: str) -> None:
    with pytest.raises(InvalidInput, match=r"64 hexadecimal digits|32 bytes") as caught:
        kind.from_hex(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("number", [0, ORDER, 2**256 - 1])
def test_secp256k1_keys_are_below_the_order(number: int) -> None:
    with pytest.raises(InvalidInput, match="from 1 to the order"):
        Secp256k1Key(number.to_bytes(32, "big"))


@KINDS
def test_repr_shows_the_address_and_never_the_secret(kind: type[PrivateKey]) -> None:
    key = kind.from_hex("33" * 32)
    assert repr(key) == str(key) == f"<{kind.__name__} of address {key.address.hex()}>"
    assert "3333" not in repr(key).replace(key.address.hex(), "")


@pytest.mark.parametrize(
    ("module", "call", "package"),
    [
        ("nacl", "Ed25519Key.generate().public_key", "pynacl"),
        ("cryptography", "Secp256k1Key.generate().public_key", "cryptography"),
        ("cryptography", "Ed25519Key.generate().to_pem()", "cryptography"),
    ],
)
def test_a_missing_library_is_named(module: str, call: str, package: str) -> None:
    code = f"import sys; sys.modules[{module!r}] = None\nfrom vmsdk.chain.keys import *\n{call}"
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert f"needs the package {package}: pip install 'vmsdk[keys]'" in run.stderr
