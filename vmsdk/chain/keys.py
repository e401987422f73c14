"""Keys that sign transactions: Ed25519 and secp256k1 (extra `keys`).

A public key has 33 bytes: 0xED and the Ed25519 key, or the compressed secp256k1 point, which begins
with 2 or 3. An address is the first 20 bytes of the SHA-256 of a public key. A signature has 64
bytes: Ed25519's, or r and s of ECDSA with SHA-256, where s is at most half the order.

Prefer Ed25519, which verifies five times as fast as secp256k1. PyNaCl verifies it twice as fast as
OpenSSL, and refuses keys of small order. secp256k1 uses cryptography, because coincurve has no
wheels for Python 3.14. Both release the GIL.
"""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from typing_extensions import Self

from vmsdk.errors import InvalidInput, MissingExtra

PUBLIC_KEY_BYTES = 33
SIGNATURE_BYTES = 64
ADDRESS_BYTES = 20

_ED25519 = 0xED
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""The order of secp256k1's group."""


def address_of(public_key: bytes) -> bytes:
    """Return the address of a public key: the first 20 bytes of its SHA-256."""
    return hashlib.sha256(public_key).digest()[:ADDRESS_BYTES]


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether *signature* is the signature of *message* by the owner of *public_key*.

    False if the signature does not have 64 bytes or the key 33. Raises `MissingExtra`.
    """
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    if public_key[0] == _ED25519:
        return _verify_ed25519(public_key[1:], message, signature)
    return _verify_secp256k1(public_key, message, signature)


class PrivateKey(ABC):
    """A private key: an `Ed25519Key` or a `Secp256k1Key`. Its `repr` doesn't show the secret.

    Raises `InvalidInput` if *secret* (32 bytes) is invalid.
    """

    def __init__(self, secret: bytes) -> None:
        if not isinstance(secret, bytes) or len(secret) != 32:  # the message must not show it
            given = len(secret) if isinstance(secret, bytes) else f"a {type(secret).__name__}"
            raise InvalidInput(f"a private key has 32 bytes, not {given}")
        self._secret = secret

    @classmethod
    def generate(cls) -> Self:
        """Generate a key with the operating system's random number generator."""
        return cls(secrets.token_bytes(32))

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Read a key from 64 hexadecimal digits, with or without 0x. Raises `InvalidInput`."""
        try:
            return cls(bytes.fromhex(text.strip().removeprefix("0x")))
        except ValueError:
            # The message must not show the text.
            raise InvalidInput("a private key is 64 hexadecimal digits") from None

    def to_hex(self) -> str:
        """Return the secret as 64 hexadecimal digits."""
        return self._secret.hex()

    def to_pem(self, password: bytes | None = None) -> bytes:
        """Return the secret as PEM (PKCS #8), encrypted if *password* is given.

        Raises `InvalidInput` for an empty password.
        """
        if password is not None and (not isinstance(password, bytes) or not password):
            raise InvalidInput("the password must be non-empty bytes; pass None to leave the key unencrypted")
        serialization = _cryptography().serialization
        pem: bytes = self._pem_key().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()
            if password is None
            else serialization.BestAvailableEncryption(password),
        )
        return pem

    def save(self, path: str | os.PathLike[str], password: bytes | None = None) -> None:
        """Write the key as PEM to a new file that only its owner can read.

        Raises `FileExistsError` if the file exists, and like `to_pem`.
        """
        pem = self.to_pem(password)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)

    @cached_property
    @abstractmethod
    def public_key(self) -> bytes:
        """The public key, 33 bytes."""

    @cached_property
    def address(self) -> bytes:
        """The address of the public key, 20 bytes."""
        return address_of(self.public_key)

    @abstractmethod
    def sign(self, message: bytes) -> bytes:
        """Return the signature of *message*, 64 bytes."""

    @abstractmethod
    def _pem_key(self) -> Any: ...

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of address {self.address.hex()}>"


class Ed25519Key(PrivateKey):
    """An Ed25519 key (RFC 8032)."""

    @cached_property
    def public_key(self) -> bytes:
        return bytes([_ED25519]) + self._pair[0]

    def sign(self, message: bytes) -> bytes:
        signed: bytes = _nacl().bindings.crypto_sign(message, self._pair[1])
        return signed[:SIGNATURE_BYTES]

    @cached_property
    def _pair(self) -> tuple[bytes, bytes]:
        pair: tuple[bytes, bytes] = _nacl().bindings.crypto_sign_seed_keypair(self._secret)
        return pair

    def _pem_key(self) -> Any:
        return _cryptography().ed25519.Ed25519PrivateKey.from_private_bytes(self._secret)


class Secp256k1Key(PrivateKey):
    """A secp256k1 key, as used by Bitcoin and Ethereum."""

    def __init__(self, secret: bytes) -> None:
        super().__init__(secret)
        if not 0 < int.from_bytes(secret, "big") < _ORDER:
            raise InvalidInput("a secp256k1 key is a number from 1 to the order of the group less one")

    @cached_property
    def public_key(self) -> bytes:
        library = _cryptography()
        public_key: bytes = self._key.public_key().public_bytes(
            library.serialization.Encoding.X962, library.serialization.PublicFormat.CompressedPoint
        )
        return public_key

    def sign(self, message: bytes) -> bytes:
        library = _cryptography()
        r, s = library.utils.decode_dss_signature(self._key.sign(message, library.ecdsa_sha256))
        s = min(s, _ORDER - s)
        return bytes(r.to_bytes(32, "big") + s.to_bytes(32, "big"))

    @cached_property
    def _key(self) -> Any:
        library = _cryptography()
        return library.ec.derive_private_key(int.from_bytes(self._secret, "big"), library.curve)

    def _pem_key(self) -> Any:
        return self._key


def from_pem(data: bytes, password: bytes | None = None) -> PrivateKey:
    """Read an Ed25519 or secp256k1 key from PEM, decrypted with *password*.

    Raises `InvalidInput` if it isn't such a key, or if the password is missing or wrong.
    """
    library = _cryptography()
    try:
        key = library.serialization.load_pem_private_key(data, password)
    except (ValueError, TypeError, library.UnsupportedAlgorithm) as error:
        raise InvalidInput(f"not a private key in PEM, or the wrong password: {error}") from None
    if isinstance(key, library.ed25519.Ed25519PrivateKey):
        return Ed25519Key(key.private_bytes_raw())
    if isinstance(key, library.ec.EllipticCurvePrivateKey) and key.curve.name == "secp256k1":
        return Secp256k1Key(key.private_numbers().private_value.to_bytes(32, "big"))
    raise InvalidInput(f"the PEM holds a {type(key).__name__}: only Ed25519 and secp256k1 keys sign")


def load(path: str | os.PathLike[str], password: bytes | None = None) -> PrivateKey:
    """Read a key that `PrivateKey.save` has written. Raises `OSError`, and like `from_pem`."""
    return from_pem(Path(path).read_bytes(), password)


def _verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        _nacl().bindings.crypto_sign_open(signature + message, public_key)
    except _nacl().exceptions.BadSignatureError:
        return False
    return True


def _verify_secp256k1(public_key: bytes, message: bytes, signature: bytes) -> bool:
    library = _cryptography()
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if s > _ORDER // 2:
        return False  # or each signature would have a second valid form, with the order less s
    try:
        key = library.ec.EllipticCurvePublicKey.from_encoded_point(library.curve, public_key)
        key.verify(library.utils.encode_dss_signature(r, s), message, library.ecdsa_sha256)
    except (ValueError, library.InvalidSignature):
        return False
    return True


# The libraries, imported when a key is first used -------------------------------------------------


@functools.cache
def _nacl() -> Any:
    try:
        import nacl.bindings
        import nacl.exceptions
    except ImportError:
        raise MissingExtra("Ed25519", package="pynacl", extra="keys") from None
    return nacl


@functools.cache
def _cryptography() -> Any:
    try:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
    except ImportError:
        raise MissingExtra("a secp256k1 key or PEM", package="cryptography", extra="keys") from None
    return SimpleNamespace(
        InvalidSignature=InvalidSignature,
        UnsupportedAlgorithm=UnsupportedAlgorithm,
        curve=ec.SECP256K1(),
        ec=ec,
        ecdsa_sha256=ec.ECDSA(hashes.SHA256()),
        ed25519=ed25519,
        serialization=serialization,
        utils=utils,
    )
