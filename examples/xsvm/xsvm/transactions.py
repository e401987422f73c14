"""Transactions, their encoding, and their senders."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Annotated, ClassVar, TypeVar

from btclib_secp256k1 import recovery

from vmsdk.chain import U64, Bytes20, Fixed, Invalid, Max
from vmsdk.chain.encoding import Encoding, encoding_of
from vmsdk.codec import MAX_ELEMENTS
from vmsdk.errors import InvalidEncoding
from vmsdk.ids import ID

T = TypeVar("T")

VERSION = b"\0\0"
"""The codec version, with which every encoding begins."""

SIGNATURE_BYTES = 65
CACHED_SENDERS = 4096
"""A transaction is seen twice: by itself, and in a block."""
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
"""Half the order of secp256k1's group: the greatest `s` of a signature."""

Address = Bytes20
"""The RIPEMD-160 of the SHA-256 of a compressed public key."""


@dataclass(frozen=True)
class Transfer:
    """Moves an asset between accounts of this chain."""

    tag: ClassVar[int] = 0

    chain_id: ID
    """This chain, so that the transaction is valid on no other."""
    nonce: U64
    """How many transactions of the sender came before."""
    max_fee: U64
    """What the sender would pay; there are no fees yet."""
    asset_id: ID
    """The chain that the asset comes from; this chain for its own."""
    amount: U64
    to: Address


@dataclass(frozen=True)
class Export:
    """Moves an asset to another chain: creates a message for an `Import` transaction there."""

    tag: ClassVar[int] = 1

    chain_id: ID
    """This chain, so that the transaction is valid on no other."""
    nonce: U64
    max_fee: U64
    peer_chain_id: ID
    """The chain that receives it."""
    is_return: bool
    """Whether the asset comes from the peer chain and returns to it. If not, it is this chain's."""
    amount: U64
    to: Address
    """The receiver on the peer chain."""


@dataclass(frozen=True)
class Import:
    """Receives an asset that was exported on another chain."""

    tag: ClassVar[int] = 2

    nonce: U64
    max_fee: U64
    message: Annotated[bytes, Max(MAX_ELEMENTS)]
    """A signed warp message whose payload is a `Payload`."""


@dataclass(frozen=True)
class Payload:
    """The content of an export's message. The sender and the nonce make it unique."""

    sender: Address
    nonce: U64
    is_return: bool
    amount: U64
    to: Address

    @classmethod
    def from_bytes(cls, raw: bytes) -> Payload:
        """Decode a payload. Raises `Invalid`."""
        return decode(PAYLOAD, raw)

    def to_bytes(self) -> bytes:
        """Encode the payload."""
        return VERSION + PAYLOAD.encode(self)


@dataclass(frozen=True)
class Transaction:
    """A signed transaction."""

    unsigned: Transfer | Export | Import
    signature: Annotated[bytes, Fixed(SIGNATURE_BYTES)]
    """r, s and the recovery ID of an ECDSA signature with SHA-256 on secp256k1."""

    @classmethod
    def from_bytes(cls, raw: bytes) -> Transaction:
        """Decode a transaction. Raises `Invalid`."""
        transaction = decode(TRANSACTION, raw)
        vars(transaction)["raw"] = raw  # it has no other encoding
        return transaction

    @cached_property
    def raw(self) -> bytes:
        """The encoding."""
        return VERSION + TRANSACTION.encode(self)

    @cached_property
    def id(self) -> ID:
        """The SHA-256 of `raw`."""
        return ID.of(self.raw)

    @cached_property
    def sender(self) -> bytes:
        """The address of the key that signed. Raises `Invalid` if the signature fits no key."""
        if int.from_bytes(self.signature[32:64], "big") > HALF_ORDER:
            raise Invalid("s of the signature is more than half the order of the group")
        return _sender(self.digest, self.signature)

    @property
    def digest(self) -> bytes:
        """What is signed: the SHA-256 of the encoding without the signature."""
        return hashlib.sha256(self.raw[:-SIGNATURE_BYTES]).digest()

    @classmethod
    def signed(cls, unsigned: Transfer | Export | Import, key: bytes) -> Transaction:
        """Sign a transaction with a private key of 32 bytes."""
        signature, recovery_id = recovery.sign(cls(unsigned, bytes(SIGNATURE_BYTES)).digest, key)
        return cls(unsigned, signature + bytes([recovery_id]))


@lru_cache(CACHED_SENDERS)
def _sender(digest: bytes, signature: bytes) -> bytes:
    try:
        key = recovery.recover(digest, signature[:64], signature[64])
    except ValueError as error:
        raise Invalid(f"the signature fits no public key: {error}") from None
    return address_of(key)


def address_of(public_key: bytes) -> bytes:
    """Return the address of a compressed public key."""
    return hashlib.new("ripemd160", hashlib.sha256(public_key).digest()).digest()


def decode(encoding: Encoding[T], raw: bytes) -> T:
    """Decode a whole object of the codec. Raises `Invalid` unless *raw* is exactly one."""
    if raw[:2] != VERSION:
        raise Invalid("the bytes don't begin with codec version 0", begin=raw[:2].hex())
    try:
        value, end = encoding.read(raw, 2)
    except InvalidEncoding as error:
        raise Invalid(str(error)) from None
    if end != len(raw):
        raise Invalid(f"{len(raw)} bytes, but the encoding ends at byte {end}")
    return value


PAYLOAD: Encoding[Payload] = encoding_of(Payload)
TRANSACTION: Encoding[Transaction] = encoding_of(Transaction)
