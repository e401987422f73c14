"""Warp messages, unsigned and signed. Each has exactly one encoding, in the nodes' codec.

Source: vms/platformvm/warp of AvalancheGo.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from typing_extensions import Self

from vmsdk import bls
from vmsdk.codec import Reader, Writer
from vmsdk.errors import InvalidEncoding, InvalidWarpMessage
from vmsdk.ids import ID

CODEC_VERSION = 0

_BIT_SET_SIGNATURE = 0  # the only type of signature


@dataclass(frozen=True)
class UnsignedMessage:
    """The signed part of a message. Its encoding has 42 bytes plus the payload."""

    network_id: int
    """32 bits. The message is valid on this network only."""
    source_chain_id: ID
    """The sending chain. `WarpSigner.sign` signs for its own chain only."""
    payload: bytes
    """Any bytes; by convention, the encoding of a `Hash` or an `AddressedCall`."""

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode *data*. Raises `InvalidEncoding`."""
        reader = Reader(data, "unsigned warp message", max_size=None)
        reader.version(CODEC_VERSION)
        message = cls._read(reader)
        reader.end()
        return message

    def encode(self) -> bytes:
        """The bytes to sign. Raises `InvalidEncoding` if the network ID exceeds 32 bits."""
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
    """The aggregate signature of several validators, and which validators signed."""

    signers: bytes
    """Big-endian, without leading zero bytes; bit i is validator i of the canonical set."""
    signature: bytes
    """The 96-byte aggregate of the signers' signatures."""

    @classmethod
    def of(cls, signers: Iterable[int], signature: bytes) -> Self:
        """The signature of the validators with the indices *signers* in the canonical set."""
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
        """The signers' indices in the canonical set, ascending. Raises like `bit_length`."""
        digits = f"{int.from_bytes(self.signers, 'big'):0{self.bit_length}b}"
        return [index for index, digit in enumerate(reversed(digits)) if digit == "1"]


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
