"""BLS12-381 keys and signatures as nodes use them: public keys in G1, signatures in G2.

Everything but `validate_public_key` needs py_arkworks_bls12381 (extra `warp`, Python 3.11 or newer)
and raises `MissingExtra` without it. Signing takes about 2 ms, verifying 4 ms.

Sources: utils/crypto/bls of AvalancheGo; the encodings are Zcash's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vmsdk.errors import InvalidPublicKey, MissingExtra

PUBLIC_KEY_BYTES = 48
UNCOMPRESSED_PUBLIC_KEY_BYTES = 96
SIGNATURE_BYTES = 96

# Flags in the first byte of a compressed point; the modulus of the field. The curve: y² = x³ + 4.
_COMPRESSED = 0x80
_INFINITY = 0x40
_LARGER_Y = 0x20
_P = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB

_MESSAGES = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
_PROOFS_OF_POSSESSION = b"BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"


def validate_public_key(public_key: bytes) -> None:
    """Check that a compressed public key (48 bytes) is a point on the curve, without any library.

    Raises `InvalidPublicKey`: "couldn't decompress public key" if it isn't, "invalid public key"
    for the point at infinity. `verify` checks, too, that the point belongs to the group.
    """
    if len(public_key) != PUBLIC_KEY_BYTES or not public_key[0] & _COMPRESSED:
        raise InvalidPublicKey("couldn't decompress public key")
    if public_key == bytes([_COMPRESSED | _INFINITY]) + bytes(PUBLIC_KEY_BYTES - 1):
        raise InvalidPublicKey("invalid public key")
    # A flag for infinity makes x too large. The nodes' library refuses x = 0, although it is on the
    # curve.
    x = int.from_bytes(public_key, "big") & ~((_COMPRESSED | _LARGER_Y) << 8 * (PUBLIC_KEY_BYTES - 1))
    if not 0 < x < _P or pow(x**3 + 4, (_P - 1) // 2, _P) != 1:
        raise InvalidPublicKey("couldn't decompress public key")


def uncompress(public_key: bytes) -> bytes:
    """Convert a compressed public key (48 bytes) to 96 bytes. Raises `InvalidPublicKey`."""
    return bytes(_key(_library(), public_key).to_xy_bytes_be())


def compress(public_key: bytes) -> bytes:
    """Convert an uncompressed public key (96 bytes), as found in validator sets, to 48 bytes.

    Raises `InvalidPublicKey` ("couldn't deserialize public key") if it isn't a point on the curve.
    """
    return bytes(_registered_key(_library(), public_key).to_compressed_bytes())


def aggregate_public_keys(public_keys: Iterable[bytes]) -> bytes:
    """Add up public keys of 48 or 96 bytes: return 48 bytes, which verify an aggregate signature.

    Raises `InvalidPublicKey` for bytes that aren't a key and ("no public keys") without any key.
    """
    library = _library()
    points = [
        (_registered_key if len(key) == UNCOMPRESSED_PUBLIC_KEY_BYTES else _key)(library, key)
        for key in public_keys
    ]
    if not points:
        raise InvalidPublicKey("no public keys")
    return bytes(sum(points, library.G1Point.identity()).to_compressed_bytes())


def aggregate_signatures(signatures: Iterable[bytes]) -> bytes:
    """Add up signatures (96 bytes each) of one message: return 96 bytes.

    Raises `ValueError` for bytes that aren't a signature and without any signature.
    """
    library = _library()
    try:
        points = [_signature(library, signature) for signature in signatures]
    except ValueError as error:
        raise ValueError(f"not a BLS signature: {error}") from None
    if not points:
        raise ValueError("no signatures")
    return bytes(sum(points, library.G2Point.identity()).to_compressed_bytes())


def public_key(secret_key: bytes) -> bytes:
    """Return the public key (48 bytes) of a secret key (32 bytes).

    Raises `ValueError` if it isn't a secret key.
    """
    library = _library()
    return bytes((library.G1Point() * _scalar(library, secret_key)).to_compressed_bytes())


def sign(secret_key: bytes, message: bytes, *, domain: bytes = _MESSAGES) -> bytes:
    """Return the 96-byte signature of *message*, signed as is. Raises like `public_key`."""
    library = _library()
    point = library.G2Point.hash_to_curve(message, domain) * _scalar(library, secret_key)
    return bytes(point.to_compressed_bytes())


def verify(public_key: bytes, message: bytes, signature: bytes, *, domain: bytes = _MESSAGES) -> bool:
    """Return whether *signature* is that of *message* by the compressed *public_key* (48 bytes).

    False for bytes that aren't a signature; raises `InvalidPublicKey` for bytes that aren't a key.
    """
    library = _library()
    key = _key(library, public_key)
    try:
        point = _signature(library, signature)
    except ValueError:
        return False
    hashed = library.G2Point.hash_to_curve(message, domain)
    return bool(library.GT.pairing_check([key, -library.G1Point()], [hashed, point]))


def proof_of_possession(secret_key: bytes) -> bytes:
    """Return the 96-byte proof that the owner of a public key has its secret key."""
    return sign(secret_key, public_key(secret_key), domain=_PROOFS_OF_POSSESSION)


def verify_proof_of_possession(public_key: bytes, proof: bytes) -> bool:
    """Return whether *proof* is the proof of possession of *public_key*. Raises like `verify`."""
    return verify(public_key, public_key, proof, domain=_PROOFS_OF_POSSESSION)


def _key(library: Any, public_key: bytes) -> Any:
    validate_public_key(public_key)
    try:
        return library.G1Point.from_compressed_bytes(public_key)
    except ValueError:  # outside the group
        raise InvalidPublicKey("invalid public key") from None


def _registered_key(library: Any, public_key: bytes) -> Any:
    """Decode a key of a validator set: like a node, trust that registering it checked the group."""
    x, y = divmod(int.from_bytes(public_key, "big"), 1 << 8 * PUBLIC_KEY_BYTES)
    is_on_curve = 0 < x < _P and y < _P and (y * y - x**3 - 4) % _P == 0
    if len(public_key) != UNCOMPRESSED_PUBLIC_KEY_BYTES or not is_on_curve:
        raise InvalidPublicKey("couldn't deserialize public key")
    return library.G1Point.from_xy_bytes_unchecked_be(public_key)


def _signature(library: Any, signature: bytes) -> Any:
    """Decode a signature.

    Raises `ValueError` if it isn't a point of the group, or not encoded as nodes do.
    """
    point = library.G2Point.from_compressed_bytes(signature)
    # The library ignores the other bits of an encoding that is flagged as infinity.
    if bytes(point.to_compressed_bytes()) != signature:
        raise ValueError("the point is not encoded as nodes encode it")
    return point


def _scalar(library: Any, secret_key: bytes) -> Any:
    try:
        scalar = library.Scalar.from_be_bytes(secret_key)
    except ValueError:  # another length, or not below the order of the group
        scalar = library.Scalar(0)
    if scalar.is_zero():
        raise ValueError("a BLS secret key is 32 bytes, a number from 1 to the order of the group less one")
    return scalar


def _library() -> Any:
    try:
        import py_arkworks_bls12381 as library
    except ImportError:
        raise MissingExtra(
            "BLS (on Python 3.11 or newer)", package="py_arkworks_bls12381", extra="warp"
        ) from None
    return library
