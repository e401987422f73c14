"""Warp messages: what one chain sends to others, signed by the validators of its subnet.

Source: vms/platformvm/warp of AvalancheGo. Each structure has exactly one encoding in the nodes'
codec.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import Self

from vmsdk import bls
from vmsdk.codec import Reader, Writer
from vmsdk.errors import InvalidEncoding, InvalidPublicKey, InvalidWarpMessage
from vmsdk.ids import ID
from vmsdk.nodeservices import WarpValidator, WarpValidatorSet

CODEC_VERSION = 0
MAX_PAYLOAD_BYTES = 24 * 1024  # warp/payload/codec.go: limits `Hash` and `AddressedCall`, not messages

_BIT_SET_SIGNATURE = 0  # the only type of signature


@dataclass(frozen=True)
class UnsignedMessage:
    """The signed part of a message. Encoded it takes 42 bytes and those of the payload."""

    network_id: int
    """32 bits; a message is valid on this network only."""
    source_chain_id: ID
    """The sending chain. `WarpSigner.sign` signs for its own chain only."""
    payload: bytes
    """Any bytes. By convention the encoding of a `Hash` or an `AddressedCall`."""

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode *data*. Raises `InvalidEncoding`."""
        reader = Reader(data, "unsigned warp message", max_size=None)
        reader.version(CODEC_VERSION)
        message = cls._read(reader)
        reader.end()
        return message

    def encode(self) -> bytes:
        """Return the bytes to sign. Raises `InvalidEncoding` if the network ID exceeds 32 bits."""
        return self._write(Writer(max_size=None).version(CODEC_VERSION)).getvalue()

    @property
    def id(self) -> ID:
        """The SHA-256 of the encoded message."""
        return ID.of(self.encode())

    @classmethod
    def _read(cls, reader: Reader) -> Self:
        return cls(reader.u32(), ID(reader.fixed(ID.LENGTH)), reader.blob())

    def _write(self, writer: Writer) -> Writer:
        return writer.u32(self.network_id).fixed(self.source_chain_id).blob(self.payload)


@dataclass(frozen=True)
class BitSetSignature:
    """One signature by many validators, and which validators signed."""

    signers: bytes
    """A big-endian number without leading zero bytes; bit i stands for validator i of the canonical
    set.
    """
    signature: bytes
    """The 96-byte aggregate of the signers' signatures."""

    @classmethod
    def of(cls, signers: Iterable[int], signature: bytes) -> Self:
        """Build the signature of the validators with the indices *signers* in the canonical set."""
        bits = 0
        for index in signers:
            bits |= 1 << index
        return cls(bits.to_bytes((bits.bit_length() + 7) // 8, "big"), signature)

    @property
    def bit_length(self) -> int:
        """The highest signer's index plus one; 0 without signers.

        Raises `InvalidWarpMessage` ("bitset is invalid") if `signers` begins with a zero byte.
        """
        if self.signers[:1] == b"\0":
            raise InvalidWarpMessage("bitset is invalid", "it begins with a zero byte")
        return int.from_bytes(self.signers, "big").bit_length()

    @property
    def indices(self) -> list[int]:
        """The signers' indices in the canonical set, in ascending order. Raises like
        `bit_length`.
        """
        bits = int.from_bytes(self.signers, "big")
        return [index for index in range(self.bit_length) if bits >> index & 1]


@dataclass(frozen=True)
class Message:
    """An unsigned message and its signature."""

    unsigned: UnsignedMessage
    signature: BitSetSignature

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode *data* without verifying the signature. Raises `InvalidEncoding`."""
        reader = Reader(data, "warp message", max_size=None)
        reader.version(CODEC_VERSION)
        unsigned = UnsignedMessage._read(reader)
        reader.type_id(_BIT_SET_SIGNATURE)
        signature = BitSetSignature(reader.blob(), reader.fixed(bls.SIGNATURE_BYTES))
        reader.end()
        return cls(unsigned, signature)

    def encode(self) -> bytes:
        """Return the encoded message.

        Raises `InvalidEncoding` if the signature isn't 96 bytes or the network ID exceeds 32 bits.
        """
        if len(self.signature.signature) != bls.SIGNATURE_BYTES:
            raise InvalidEncoding(
                "input does not match expected format",
                f"a signature has {bls.SIGNATURE_BYTES} bytes, not {len(self.signature.signature)}",
            )
        writer = self.unsigned._write(Writer(max_size=None).version(CODEC_VERSION))
        writer.type_id(_BIT_SET_SIGNATURE).blob(self.signature.signers).fixed(self.signature.signature)
        return writer.getvalue()


@dataclass(frozen=True)
class Hash:
    """A payload by which a chain vouches for a hash, such as that of a block."""

    TYPE_ID: ClassVar[int] = 0

    hash: ID
    """32 bytes."""

    def encode(self) -> bytes:
        """Return 38 bytes."""
        return _payload_writer(self.TYPE_ID).fixed(self.hash).getvalue()

    @classmethod
    def _read(cls, reader: Reader) -> Self:
        return cls(ID(reader.fixed(ID.LENGTH)))


@dataclass(frozen=True)
class AddressedCall:
    """A payload sent by an address of the source chain."""

    TYPE_ID: ClassVar[int] = 1

    source_address: bytes
    """The sender on the source chain: any bytes, or empty if the chain itself is the sender."""
    payload: bytes
    """Any bytes; their meaning is up to the receiver."""

    def encode(self) -> bytes:
        """Return 14 bytes and those of the fields. Raises `InvalidEncoding` beyond 24 KiB."""
        return _payload_writer(self.TYPE_ID).blob(self.source_address).blob(self.payload).getvalue()

    @classmethod
    def _read(cls, reader: Reader) -> Self:
        return cls(reader.blob(), reader.blob())


def decode_payload(data: bytes) -> Hash | AddressedCall:
    """Decode a conventional payload. Raises `InvalidEncoding`, also beyond 24 KiB."""
    reader = Reader(data, "warp payload", max_size=MAX_PAYLOAD_BYTES)
    reader.version(CODEC_VERSION)
    types: Sequence[Callable[[Reader], Hash | AddressedCall]] = (Hash._read, AddressedCall._read)
    payload = reader.interface(types)
    reader.end()
    return payload


def verify(
    message: Message,
    validators: WarpValidatorSet,
    network_id: int,
    quorum_num: int,
    quorum_den: int,
) -> None:
    """Check that validators with at least quorum_num/quorum_den of the total weight signed
    *message*.

    *validators* is the canonical set of the source chain's subnet at an agreed P-chain height
    (`ValidatorState.get_warp_validator_set`), *network_id* that of this network. The usual quorum
    is 67/100. Raises `InvalidWarpMessage` with the broken rule, `MissingExtra` without the extra
    `warp`.
    """
    if message.unsigned.network_id != network_id:
        raise InvalidWarpMessage("wrong networkID", f"{message.unsigned.network_id} instead of {network_id}")
    signers = _signers(message.signature, validators.validators)
    signed_weight = sum(signer.weight for signer in signers)
    if quorum_num * validators.total_weight > quorum_den * signed_weight:
        raise InvalidWarpMessage(
            "signature weight is insufficient",
            f"{quorum_num}*{validators.total_weight} > {quorum_den}*{signed_weight}",
        )
    try:
        public_key = bls.aggregate_public_keys(signer.public_key for signer in signers)
        is_valid = bls.verify(public_key, message.unsigned.encode(), message.signature.signature)
    except InvalidPublicKey as error:  # also if the keys cancel each other out
        raise InvalidWarpMessage(error.rule) from error
    if not is_valid:
        raise InvalidWarpMessage("signature is invalid")


def _signers(signature: BitSetSignature, validators: Sequence[WarpValidator]) -> list[WarpValidator]:
    if signature.bit_length > len(validators):
        raise InvalidWarpMessage("unknown validator", f"{signature.bit_length - 1} >= {len(validators)}")
    return [validators[index] for index in signature.indices]


def _payload_writer(type_id: int) -> Writer:
    return Writer(max_size=MAX_PAYLOAD_BYTES).version(CODEC_VERSION).type_id(type_id)
