"""BLS12-381 keys and signatures as nodes use them: public keys in G1, signatures in G2.

Checking, converting and adding public keys is done here, in one or two milliseconds a key, since every VM
must check its node's key. Secret keys and pairings are the business of py_ecc (extra `warp`), which
is imported at first use and takes its time: about a third of a second for a `verify`.

Sources: utils/crypto/bls of AvalancheGo; the encodings are Zcash's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from vmsdk.errors import InvalidPublicKey, InvalidSecretKey, InvalidSignature, MissingExtra

if TYPE_CHECKING:
    from py_ecc.bls.ciphersuites import G2ProofOfPossession

SECRET_KEY_BYTES = 32
PUBLIC_KEY_BYTES = 48
UNCOMPRESSED_PUBLIC_KEY_BYTES = 96
SIGNATURE_BYTES = 96

# Flags in the first byte of an encoded point.
_COMPRESSED = 0x80
_INFINITY = 0x40
_LARGER_Y = 0x20
_FLAGS = _COMPRESSED | _INFINITY | _LARGER_Y

# The field's modulus, the curve's y² = x³ + 4, the group's order, and the size of the curve's parameter,
# of which only the square matters here.
_P = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
_B = 4
_ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
_Z = 0xD201000000010000
_Z_BITS_AFTER_THE_FIRST = [bit == "1" for bit in f"{_Z:b}"[1:]]
# The cube root of 1 with which (x, y) → (βx, y) multiplies the points of the group by -z².
_BETA = 0x5F19672FDF76CE51BA69C6076A0F77EADDB3A93BE6F89688DE17D813620A00022E01FFFFFFFEFFFE


class _Point(NamedTuple):
    """A point of the curve in Jacobian coordinates: (x/z², y/z³), or infinity when z is 0."""

    x: int
    y: int
    z: int


_POINT_AT_INFINITY = _Point(1, 1, 0)


# Public keys, without any library ----------------------------------------------------------------


def validate_public_key(public_key: bytes) -> None:
    """Check a compressed public key (48 bytes) as a node does.

    Raises `InvalidPublicKey`: "couldn't decompress public key" when the bytes are no point of the curve,
    "invalid public key" for the point at infinity and for a point outside the group.
    """
    _valid_point(public_key)


def uncompress(public_key: bytes) -> bytes:
    """The 96-byte form of a compressed public key (48 bytes), which is checked.

    Raises `InvalidPublicKey` like `validate_public_key`.
    """
    point = _valid_point(public_key)
    return point.x.to_bytes(PUBLIC_KEY_BYTES, "big") + point.y.to_bytes(PUBLIC_KEY_BYTES, "big")


def compress(public_key: bytes) -> bytes:
    """The 48-byte form of an uncompressed public key (96 bytes), as validator sets carry them.

    Raises `InvalidPublicKey` ("couldn't deserialize public key") when it is no point of the curve. Like
    a node, it doesn't check more: keys out of validator sets were checked when they were registered.
    """
    return _compress(_deserialize(public_key))


def aggregate_public_keys(public_keys: Iterable[bytes]) -> bytes:
    """The sum of public keys of 48 or 96 bytes: 48 bytes, which verify an aggregate signature.

    Raises `InvalidPublicKey` ("no public keys") when there is none, and for keys that `uncompress` or
    `compress` refuses.
    """
    total = None
    for public_key in public_keys:
        is_short = len(public_key) != UNCOMPRESSED_PUBLIC_KEY_BYTES
        point = _valid_point(public_key) if is_short else _deserialize(public_key)
        total = point if total is None else _add(total, point)
    if total is None:
        raise InvalidPublicKey("no public keys")
    return _compress(total)


# Secret keys and signatures, by py_ecc -----------------------------------------------------------


def public_key(secret_key: bytes) -> bytes:
    """The compressed public key (48 bytes) of a secret key (32 bytes, big-endian).

    Raises `InvalidSecretKey`, and `MissingExtra` without py_ecc.
    """
    scheme = _scheme()
    return bytes(scheme.SkToPk(_secret_number(secret_key)))


def sign(secret_key: bytes, message: bytes) -> bytes:
    """The 96-byte signature of *message*, which is signed as it is. Raises like `public_key`."""
    scheme = _scheme()
    return bytes(scheme.Sign(_secret_number(secret_key), message))


def proof_of_possession(secret_key: bytes) -> bytes:
    """The 96-byte proof that whoever registers a public key has its secret key. Raises like `public_key`."""
    scheme = _scheme()
    return bytes(scheme.PopProve(_secret_number(secret_key)))


def validate_signature(signature: bytes) -> None:
    """Check a signature (96 bytes) as a node does before it verifies anything.

    Raises `InvalidSignature`: "couldn't decompress signature" when the bytes are no point of the curve,
    "invalid signature" for a point outside the group; and `MissingExtra` without py_ecc.
    """
    _scheme()
    from eth_typing import BLSSignature
    from py_ecc.bls.g2_primitives import signature_to_G2, subgroup_check

    if len(signature) != SIGNATURE_BYTES:
        raise InvalidSignature("couldn't decompress signature")
    try:
        point = signature_to_G2(BLSSignature(signature))
    except ValueError:
        raise InvalidSignature("couldn't decompress signature") from None
    if not subgroup_check(point):
        raise InvalidSignature("invalid signature")


def aggregate_signatures(signatures: Sequence[bytes]) -> bytes:
    """The sum of signatures (96 bytes each) of one message: 96 bytes.

    Raises `InvalidSignature` ("no signatures" when there is none), and `MissingExtra` without py_ecc.
    """
    scheme = _scheme()
    from eth_typing import BLSSignature

    if not signatures:
        raise InvalidSignature("no signatures")
    for signature in signatures:
        validate_signature(signature)
    return bytes(scheme.Aggregate([BLSSignature(signature) for signature in signatures]))


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether *signature* (96 bytes) is that of *message* by the compressed *public_key* (48 bytes).

    Raises `InvalidPublicKey` and `InvalidSignature` for what can't be a key or a signature, and
    `MissingExtra` without py_ecc.
    """
    scheme = _scheme()
    from eth_typing import BLSPubkey, BLSSignature

    validate_public_key(public_key)
    validate_signature(signature)
    return scheme.Verify(BLSPubkey(public_key), message, BLSSignature(signature))


def verify_proof_of_possession(public_key: bytes, proof: bytes) -> bool:
    """Whether *proof* (96 bytes) is the proof of possession of *public_key*. Raises like `verify`."""
    scheme = _scheme()
    from eth_typing import BLSPubkey, BLSSignature

    validate_public_key(public_key)
    validate_signature(proof)
    return scheme.PopVerify(BLSPubkey(public_key), BLSSignature(proof))


def _scheme() -> type[G2ProofOfPossession]:
    """The ciphersuite of the nodes: messages under BLS_SIG_…_POP_, proofs under BLS_POP_…_POP_."""
    try:
        from py_ecc.bls.ciphersuites import G2ProofOfPossession
    except ImportError:
        raise MissingExtra("signing and verifying with BLS keys", package="py_ecc", extra="warp") from None
    return G2ProofOfPossession


def _secret_number(secret_key: bytes) -> int:
    if len(secret_key) != SECRET_KEY_BYTES:
        raise InvalidSecretKey(f"{SECRET_KEY_BYTES} bytes are needed, not {len(secret_key)}")
    number = int.from_bytes(secret_key, "big")
    if not 0 < number < _ORDER:
        raise InvalidSecretKey("the number is not within 1 to the group's order less one")
    return number


# Points of the curve -------------------------------------------------------------------------------


def _valid_point(public_key: bytes) -> _Point:
    point = _decompress(public_key)
    if not _is_in_group(point):
        raise InvalidPublicKey("invalid public key")
    return point


def _decompress(public_key: bytes) -> _Point:
    """The point, which is on the curve or infinity, whatever its group."""
    undecodable = InvalidPublicKey("couldn't decompress public key")
    if len(public_key) != PUBLIC_KEY_BYTES or not public_key[0] & _COMPRESSED:
        raise undecodable
    if public_key[0] & _INFINITY:
        if public_key[0] & ~(_COMPRESSED | _INFINITY) or any(public_key[1:]):
            raise undecodable
        return _POINT_AT_INFINITY
    x = _coordinate(public_key)
    y_squared = (x * x * x + _B) % _P
    y = pow(y_squared, (_P + 1) // 4, _P)  # the square root, if there is one, since P mod 4 is 3
    # The nodes' library takes x = 0 for no point at all, although (0, ±2) lie on the curve.
    if not 0 < x < _P or y * y % _P != y_squared:
        raise undecodable
    return _Point(x, y if _is_larger(y) == bool(public_key[0] & _LARGER_Y) else _P - y, 1)


def _deserialize(public_key: bytes) -> _Point:
    """The point of 96 bytes, which is on the curve or infinity, whatever its group."""
    unreadable = InvalidPublicKey("couldn't deserialize public key")
    if len(public_key) != UNCOMPRESSED_PUBLIC_KEY_BYTES:
        raise unreadable
    if public_key[0] == _INFINITY and not any(public_key[1:]):
        return _POINT_AT_INFINITY
    x = int.from_bytes(public_key[:PUBLIC_KEY_BYTES], "big")
    y = int.from_bytes(public_key[PUBLIC_KEY_BYTES:], "big")
    # Flags in the first byte would make x too large.
    if not 0 < x < _P or y >= _P or (y * y - x * x * x - _B) % _P:
        raise unreadable
    return _Point(x, y, 1)


def _compress(point: _Point) -> bytes:
    if not point.z:
        return bytes([_COMPRESSED | _INFINITY]) + bytes(PUBLIC_KEY_BYTES - 1)
    x, y = _affine(point)
    encoded = bytearray(x.to_bytes(PUBLIC_KEY_BYTES, "big"))
    encoded[0] |= _COMPRESSED | (_LARGER_Y if _is_larger(y) else 0)
    return bytes(encoded)


def _coordinate(encoded: bytes) -> int:
    return int.from_bytes(bytes([encoded[0] & ~_FLAGS]) + encoded[1:], "big")


def _is_larger(y: int) -> bool:
    """Whether y is the larger of the two roots y and -y."""
    return y > _P - y


def _affine(point: _Point) -> tuple[int, int]:
    inverse = pow(point.z, -1, _P)
    square = inverse * inverse % _P
    return point.x * square % _P, point.y * square * inverse % _P


def _is_in_group(point: _Point) -> bool:
    """Whether a point of the curve (with z = 1, or infinity) belongs to the group and is not infinity.

    On this curve exactly the points of the group have (βx, y) = -z²(x, y), which takes half the
    doublings of a multiplication by the order (M. Scott, 2021, "A note on group membership tests").
    """
    product = _multiply_by_z(_multiply_by_z(point))
    if not product.z:
        return False
    square = product.z * product.z % _P
    return (_BETA * point.x * square - product.x) % _P == 0 and (
        point.y * square * product.z + product.y
    ) % _P == 0


def _multiply_by_z(point: _Point) -> _Point:
    product = point
    for bit in _Z_BITS_AFTER_THE_FIRST:
        product = _double(product)
        if bit:
            product = _add(product, point)
    return product


def _double(point: _Point) -> _Point:
    x, y, z = point
    xx = x * x % _P
    yy = y * y % _P
    yyyy = yy * yy % _P
    s = 4 * x * yy % _P
    m = 3 * xx
    doubled_x = (m * m - 2 * s) % _P
    return _Point(doubled_x, (m * (s - doubled_x) - 8 * yyyy) % _P, 2 * y * z % _P)


def _add(left: _Point, right: _Point) -> _Point:
    if not left.z:
        return right
    if not right.z:
        return left
    left_zz = left.z * left.z % _P
    right_zz = right.z * right.z % _P
    left_x = left.x * right_zz % _P
    left_y = left.y * right_zz * right.z % _P
    h = (right.x * left_zz - left_x) % _P
    r = (right.y * left_zz * left.z - left_y) % _P
    if not h:
        return _POINT_AT_INFINITY if r else _double(left)
    hh = h * h % _P
    hhh = h * hh % _P
    v = left_x * hh % _P
    x = (r * r - hhh - 2 * v) % _P
    return _Point(x, (r * (v - x) - left_y * hhh) % _P, left.z * right.z * h % _P)
