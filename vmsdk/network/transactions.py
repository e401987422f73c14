"""P-chain transactions that create a subnet and a chain, and the unspent outputs that pay for them.

Transactions are only written, outputs also read. Type IDs are those of the platform's codec.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from typing_extensions import Self

from vmsdk.codec import Reader, Writer
from vmsdk.ids import ID

CODEC_VERSION = 0
ADDRESS_LENGTH = 20
MAX_GENESIS_BYTES = 255 * 1024
"""Nodes accept transactions of at most 256 KiB (AvalancheGo, `codec: defaultMaxSize`); the rest of one takes less than 1 KiB."""

_TRANSFER_INPUT = 5
_TRANSFER_OUTPUT = 7
_CREDENTIAL = 9
_SUBNET_AUTHORISATION = 10
_OWNER = 11
_CREATE_CHAIN = 15
_CREATE_SUBNET = 16


@dataclass(frozen=True)
class Owner:
    """Who may spend an output, or create chains on a subnet."""

    addresses: tuple[bytes, ...]
    """20 bytes each, sorted."""
    threshold: int = 1
    """How many of the addresses must sign."""
    locktime_s: int = 0
    """Unix seconds before which nobody may."""

    def write(self, writer: Writer) -> None:
        writer.u64(self.locktime_s).u32(self.threshold).sequence(self.addresses, Writer.fixed)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        locktime_s, threshold = reader.u64(), reader.u32()
        return cls(reader.sequence(lambda reader: reader.fixed(ADDRESS_LENGTH)), threshold, locktime_s)


@dataclass(frozen=True)
class Output:
    """An amount of an asset that its owner may spend."""

    asset_id: ID
    amount: int
    """In the asset's smallest unit: 10**9 are one token of the P-chain."""
    owner: Owner

    def write(self, writer: Writer) -> None:
        writer.fixed(self.asset_id).type_id(_TRANSFER_OUTPUT).u64(self.amount)
        self.owner.write(writer)


@dataclass(frozen=True)
class UTXO:
    """An unspent output of the transaction `tx_id`."""

    tx_id: ID
    index: int
    output: Output

    @classmethod
    def from_bytes(cls, data: bytes) -> Self | None:
        """Read an encoded unspent output; None for other types than a transfer, such as a locked or staked one.

        Raises `InvalidEncoding` if the bytes are not an unspent output.
        """
        reader = Reader(data, "unspent output")
        reader.version(CODEC_VERSION)
        tx_id, index, asset_id = ID(reader.fixed(ID.LENGTH)), reader.u32(), ID(reader.fixed(ID.LENGTH))
        if reader.u32() != _TRANSFER_OUTPUT:
            return None
        utxo = cls(tx_id, index, Output(asset_id, reader.u64(), Owner.read(reader)))
        reader.end()
        return utxo


@dataclass(frozen=True)
class Input:
    """The spending of an unspent output."""

    tx_id: ID
    index: int
    asset_id: ID
    amount: int
    signature_indices: tuple[int, ...] = (0,)
    """Which of the owner's addresses sign."""

    def write(self, writer: Writer) -> None:
        writer.fixed(self.tx_id).u32(self.index).fixed(self.asset_id)
        writer.type_id(_TRANSFER_INPUT).u64(self.amount).sequence(self.signature_indices, Writer.u32)


@dataclass(frozen=True)
class Payment:
    """What every transaction begins with: its network, what it spends and what it leaves."""

    network_id: int
    inputs: tuple[Input, ...]
    """Sorted by transaction ID and index."""
    outputs: tuple[Output, ...]
    """Sorted by their encodings. The fee is what the inputs exceed them by."""
    blockchain_id: ID = ID.EMPTY
    """The P-chain's ID is empty."""

    def write(self, writer: Writer) -> None:
        writer.u32(self.network_id).fixed(self.blockchain_id)
        writer.sequence(self.outputs, lambda writer, output: output.write(writer))
        writer.sequence(self.inputs, lambda writer, spent: spent.write(writer))
        writer.blob(b"")  # nodes accept only an empty memo


@dataclass(frozen=True)
class CreateSubnet:
    """Creates a subnet, whose ID is the ID of the signed transaction."""

    payment: Payment
    owner: Owner
    """Who may create chains on it."""

    signature_count = 0
    """How many credentials it needs besides one for each input."""

    def write(self, writer: Writer) -> None:
        writer.type_id(_CREATE_SUBNET)
        self.payment.write(writer)
        writer.type_id(_OWNER)
        self.owner.write(writer)


@dataclass(frozen=True)
class CreateChain:
    """Creates a chain on a subnet. Its ID is the ID of the signed transaction."""

    payment: Payment
    subnet_id: ID
    name: str
    """At most 128 ASCII letters, digits and spaces."""
    vm_id: ID
    genesis: bytes
    """At most 255 KiB."""
    signature_indices: tuple[int, ...] = (0,)
    """Which of the subnet owner's addresses sign."""

    signature_count = 1

    def write(self, writer: Writer) -> None:
        writer.type_id(_CREATE_CHAIN)
        self.payment.write(writer)
        writer.fixed(self.subnet_id).string(self.name).fixed(self.vm_id)
        writer.count(0)  # feature extensions: there are none
        writer.blob(self.genesis).type_id(_SUBNET_AUTHORISATION).sequence(self.signature_indices, Writer.u32)


Unsigned = CreateSubnet | CreateChain


def unsigned_bytes(transaction: Unsigned) -> bytes:
    """What is signed (its SHA-256), and what a signed transaction begins with."""
    writer = Writer(max_size=None).version(CODEC_VERSION)
    transaction.write(writer)
    return writer.getvalue()


@dataclass(frozen=True)
class Signed:
    """A transaction with its credentials."""

    unsigned: Unsigned
    credentials: tuple[tuple[bytes, ...], ...] = field(repr=False)
    """A tuple of signatures (65 bytes each) for each input, then one for the subnet's authorisation."""

    @property
    def id(self) -> ID:
        """The SHA-256 of the signed bytes: the ID of the transaction, and of the subnet or chain it creates."""
        return ID.of(self.to_bytes())

    def to_bytes(self) -> bytes:
        writer = Writer(max_size=None).fixed(unsigned_bytes(self.unsigned))
        return writer.sequence(self.credentials, _write_credential).getvalue()


def _write_credential(writer: Writer, signatures: tuple[bytes, ...]) -> None:
    writer.type_id(_CREDENTIAL).sequence(signatures, Writer.fixed)
