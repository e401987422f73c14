"""P-chain transactions that make a subnet and a chain, and the outputs that pay for them.

Objects encode themselves (`to_bytes`) and are decoded strictly (`from_bytes`): whatever decodes, encodes to the same bytes.
An object that holds a list in an order that nodes refuse is refused here as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from typing_extensions import Self

from vmsdk.codec import Reader, Writer
from vmsdk.errors import InvalidEncoding
from vmsdk.ids import ID

CODEC_VERSION = 0
ADDRESS_LENGTH = 20
SIGNATURE_LENGTH = 65
MAX_GENESIS_BYTES = 255 * 1024
"""Nodes take transactions of at most 256 KiB (AvalancheGo, `codec: defaultMaxSize`), and what else is in one takes less than 1 KiB."""
MAX_CHAIN_NAME_CHARACTERS = 128
"""The node's limit for a chain's name (AvalancheGo, `vms/platformvm/txs: MaxNameLen`)."""

# Type IDs of the platform's codec, in AvalancheGo and MetalGo alike.
_TRANSFER_INPUT = 5
_TRANSFER_OUTPUT = 7
_CREDENTIAL = 9
_SUBNET_AUTHORISATION = 10
_OWNER = 11
_CREATE_CHAIN = 15
_CREATE_SUBNET = 16


@dataclass(frozen=True)
class Owner:
    """Who may spend an output, or make chains on a subnet."""

    addresses: tuple[bytes, ...]
    """Of 20 bytes each, sorted."""
    threshold: int = 1
    """How many of the addresses must sign."""
    locktime_s: int = 0
    """Unix seconds before which nobody may."""

    def write(self, writer: Writer) -> None:
        writer.u64(self.locktime_s).u32(self.threshold).sequence(self.addresses, Writer.fixed)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        locktime_s = reader.u64()
        threshold = reader.u32()
        addresses = reader.sequence(lambda reader: reader.fixed(ADDRESS_LENGTH))
        if list(addresses) != sorted(set(addresses)):
            raise InvalidEncoding("addresses not sorted and unique", f"before byte {reader.offset}")
        if threshold > len(addresses):
            raise InvalidEncoding(
                "output is unspendable", f"{threshold} of {len(addresses)} addresses must sign"
            )
        return cls(addresses, threshold, locktime_s)


@dataclass(frozen=True)
class Output:
    """An amount of an asset that its owner may spend."""

    asset_id: ID
    amount: int
    """In the asset's smallest unit: 10**9 make one token of the P-chain."""
    owner: Owner

    def write(self, writer: Writer) -> None:
        writer.fixed(self.asset_id).type_id(_TRANSFER_OUTPUT).u64(self.amount)
        self.owner.write(writer)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        asset_id = ID(reader.fixed(ID.LENGTH))
        reader.type_id(_TRANSFER_OUTPUT)
        return cls(asset_id, reader.u64(), Owner.read(reader))


@dataclass(frozen=True)
class UTXO:
    """An unspent output of the transaction `tx_id`."""

    tx_id: ID
    index: int
    output: Output

    def to_bytes(self) -> bytes:
        writer = Writer().version(CODEC_VERSION).fixed(self.tx_id).u32(self.index)
        self.output.write(writer)
        return writer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises `InvalidEncoding` for other bytes, and for an output of another type than a transfer output."""
        reader = Reader(data, "unspent output")
        reader.version(CODEC_VERSION)
        utxo = cls(ID(reader.fixed(ID.LENGTH)), reader.u32(), Output.read(reader))
        reader.end()
        return utxo

    @staticmethod
    def is_transfer(data: bytes) -> bool:
        """Whether the encoded unspent output is a transfer output, and not (say) a staked or locked one."""
        reader = Reader(data, "unspent output")
        reader.version(CODEC_VERSION)
        reader.fixed(ID.LENGTH + 4 + ID.LENGTH)
        return reader.u32() == _TRANSFER_OUTPUT


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
        writer.fixed(self.tx_id).u32(self.index).fixed(self.asset_id).type_id(_TRANSFER_INPUT).u64(
            self.amount
        )
        writer.sequence(self.signature_indices, Writer.u32)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        tx_id, index, asset_id = ID(reader.fixed(ID.LENGTH)), reader.u32(), ID(reader.fixed(ID.LENGTH))
        reader.type_id(_TRANSFER_INPUT)
        return cls(tx_id, index, asset_id, reader.u64(), reader.sequence(Reader.u32))


@dataclass(frozen=True)
class Payment:
    """What every transaction begins with: the network it is for, what it spends and what it leaves."""

    network_id: int
    inputs: tuple[Input, ...]
    """Sorted by transaction ID and index."""
    outputs: tuple[Output, ...]
    """Sorted by their encodings. What the inputs exceed them by is the fee."""
    blockchain_id: ID = ID.EMPTY
    """The P-chain's ID is empty."""

    def write(self, writer: Writer) -> None:
        writer.u32(self.network_id).fixed(self.blockchain_id)
        writer.sequence(self.outputs, lambda writer, output: output.write(writer))
        writer.sequence(self.inputs, lambda writer, spent: spent.write(writer))
        writer.blob(b"")  # the memo: nodes refuse any but an empty one

    @classmethod
    def read(cls, reader: Reader) -> Self:
        network_id, blockchain_id = reader.u32(), ID(reader.fixed(ID.LENGTH))
        outputs, inputs = reader.sequence(Output.read), reader.sequence(Input.read)
        spent = [(i.tx_id, i.index) for i in inputs]
        if spent != sorted(set(spent)):
            raise InvalidEncoding("inputs not sorted and unique", f"before byte {reader.offset}")
        if memo := reader.blob():
            raise InvalidEncoding("memo is not empty", f"{len(memo)} bytes before byte {reader.offset}")
        return cls(network_id, inputs, outputs, blockchain_id)


@dataclass(frozen=True)
class CreateSubnet:
    """Makes a subnet. Its ID is the ID of the signed transaction."""

    payment: Payment
    owner: Owner
    """Who may make chains on it."""

    signature_count = 0
    """How many credentials it needs besides one for each input."""

    def write(self, writer: Writer) -> None:
        writer.type_id(_CREATE_SUBNET)
        self.payment.write(writer)
        writer.type_id(_OWNER)
        self.owner.write(writer)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        payment = Payment.read(reader)
        reader.type_id(_OWNER)
        return cls(payment, Owner.read(reader))


@dataclass(frozen=True)
class CreateChain:
    """Makes a chain on a subnet. Its ID is the ID of the signed transaction."""

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

    @classmethod
    def read(cls, reader: Reader) -> Self:
        payment, subnet_id = Payment.read(reader), ID(reader.fixed(ID.LENGTH))
        name, vm_id = reader.string(), ID(reader.fixed(ID.LENGTH))
        if extensions := reader.count():
            raise InvalidEncoding("unknown feature extensions", f"{extensions} before byte {reader.offset}")
        genesis = reader.blob()
        reader.type_id(_SUBNET_AUTHORISATION)
        return cls(payment, subnet_id, name, vm_id, genesis, reader.sequence(Reader.u32))


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
    """Lists of signatures of 65 bytes (r, s, recovery 0 or 1): one list for each input, then one for the subnet's authorisation."""

    @property
    def id(self) -> ID:
        """The SHA-256 of the signed bytes: the ID of the transaction, and of the subnet or chain it makes."""
        return ID.of(self.to_bytes())

    def to_bytes(self) -> bytes:
        writer = Writer(max_size=None).fixed(unsigned_bytes(self.unsigned))
        return writer.sequence(self.credentials, _write_credential).getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises `InvalidEncoding` for anything but a signed CreateSubnet or CreateChain transaction."""
        reader = Reader(data, "signed transaction", max_size=None)
        reader.version(CODEC_VERSION)
        unsigned: Unsigned
        if reader.type_id(_CREATE_SUBNET, _CREATE_CHAIN) == _CREATE_SUBNET:
            unsigned = CreateSubnet.read(reader)
        else:
            unsigned = CreateChain.read(reader)
        credentials = reader.sequence(_read_credential)
        reader.end()
        needed = len(unsigned.payment.inputs) + unsigned.signature_count
        if len(credentials) != needed:
            raise InvalidEncoding("wrong number of credentials", f"{len(credentials)} instead of {needed}")
        return cls(unsigned, credentials)


def _write_credential(writer: Writer, signatures: tuple[bytes, ...]) -> None:
    writer.type_id(_CREDENTIAL).sequence(signatures, Writer.fixed)


def _read_credential(reader: Reader) -> tuple[bytes, ...]:
    reader.type_id(_CREDENTIAL)
    return reader.sequence(lambda reader: reader.fixed(SIGNATURE_LENGTH))
