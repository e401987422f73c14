"""The two payloads that nodes and other VMs understand.

Source: vms/platformvm/warp/payload of AvalancheGo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import Self

from vmsdk.codec import Reader, Writer
from vmsdk.ids import ID

CODEC_VERSION = 0
MAX_PAYLOAD_BYTES = 24 * 1024  # of `Hash` and `AddressedCall`: other payloads have no limit


@dataclass(frozen=True)
class Hash:
    """A payload with which a chain vouches for a hash, such as that of a block."""

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
    """The sender on the source chain: any bytes, empty if the chain itself is the sender."""
    payload: bytes
    """Any bytes; their meaning is up to the receiver."""

    def encode(self) -> bytes:
        """Return 14 bytes plus those of the fields. Raises `InvalidEncoding` above 24 KiB."""
        return _payload_writer(self.TYPE_ID).blob(self.source_address).blob(self.payload).getvalue()

    @classmethod
    def _read(cls, reader: Reader) -> Self:
        return cls(reader.blob(), reader.blob())


def decode_payload(data: bytes) -> Hash | AddressedCall:
    """Decode a `Hash` or an `AddressedCall`. Raises `InvalidEncoding`, also above 24 KiB."""
    reader = Reader(data, "warp payload", max_size=MAX_PAYLOAD_BYTES)
    reader.version(CODEC_VERSION)
    types: Sequence[Callable[[Reader], Hash | AddressedCall]] = (Hash._read, AddressedCall._read)
    payload = reader.interface(types)
    reader.end()
    return payload


def _payload_writer(type_id: int) -> Writer:
    return Writer(max_size=MAX_PAYLOAD_BYTES).version(CODEC_VERSION).type_id(type_id)
