"""P-chain transactions for subnets and chains, signed with the key of local networks."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass

from typing_extensions import Self

from vmsdk.codec import Reader, Writer
from vmsdk.errors import MissingExtra
from vmsdk.ids import ID, NodeID
from vmsdk.network.errors import NetworkError

LOCAL_KEY = bytes.fromhex("56289e99c94b6912bfc12adc093c9b51124f0dc54ac7a766b2bc5ccf558d8027")
"""The private key that every local genesis funds. It is public: never use it elsewhere."""
LOCAL_ADDRESS = bytes.fromhex("3cb7d3842e8cee6a0ebd09f1fe884f6861e1b29c")
"""The address of `LOCAL_KEY`: 20 bytes, RIPEMD-160 of SHA-256 of the compressed public key."""
FEE = 10**9
"""One token. Nodes accept more than the dynamic fee, which is far lower on local networks."""
VALIDATOR_BALANCE = 10 * 10**9
"""The initial balance of a subnet's validator, which pays 512 a second: enough for 226 days."""
MAX_GENESIS_BYTES = 255 * 1024
"""A transaction has at most 256 KiB (AvalancheGo, `codec: defaultMaxSize`); before 1.14, 64 KiB."""

_CODEC_VERSION = 0
_ADDRESS_LENGTH = 20
# Type IDs of the platform's codec.
_TRANSFER_INPUT = 5
_TRANSFER_OUTPUT = 7
_CREDENTIAL = 9
_SUBNET_AUTHORISATION = 10
_OWNER = 11
_CREATE_CHAIN = 15
_CREATE_SUBNET = 16
_CONVERT_SUBNET = 35


@dataclass(frozen=True)
class UTXO:
    """An unspent output of the transaction `tx_id`: an amount of an asset, and who may spend it."""

    tx_id: ID
    index: int
    asset_id: ID
    amount: int
    """In the asset's smallest unit: 10**9 are one token of the P-chain."""
    addresses: tuple[bytes, ...] = (LOCAL_ADDRESS,)
    threshold: int = 1
    """How many of the addresses must sign."""
    locktime_s: int = 0
    """Unix seconds before which it can't be spent."""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self | None:
        """Decode an unspent output; None for a type other than a transfer, such as a staked one.

        Raises `InvalidEncoding` if the bytes are not an unspent output.
        """
        reader = Reader(data, "unspent output")
        reader.version(_CODEC_VERSION)
        tx_id, index, asset_id = ID(reader.fixed(ID.LENGTH)), reader.u32(), ID(reader.fixed(ID.LENGTH))
        if reader.u32() != _TRANSFER_OUTPUT:
            return None
        amount, locktime_s, threshold = reader.u64(), reader.u64(), reader.u32()
        addresses = reader.sequence(lambda reader: reader.fixed(_ADDRESS_LENGTH))
        reader.end()
        return cls(tx_id, index, asset_id, amount, addresses, threshold, locktime_s)

    @property
    def is_ours(self) -> bool:
        """Whether `LOCAL_KEY` may spend it alone and now."""
        return self.threshold == 1 and LOCAL_ADDRESS in self.addresses and self.locktime_s <= time.time()

    def write_input(self, writer: Writer) -> None:
        """Write it as an input that `LOCAL_KEY` signs."""
        writer.fixed(self.tx_id).u32(self.index).fixed(self.asset_id).type_id(_TRANSFER_INPUT)
        writer.u64(self.amount).sequence((self.addresses.index(LOCAL_ADDRESS),), Writer.u32)


@dataclass(frozen=True)
class Transaction:
    """A signed transaction."""

    raw: bytes
    change: tuple[UTXO, ...]
    """Its change, which the next transaction can spend even before this one is issued."""

    @property
    def id(self) -> ID:
        """The SHA-256 of its bytes: the ID of the transaction, and of what it creates."""
        return ID.of(self.raw)


@dataclass(frozen=True)
class Validator:
    """A validator of a subnet."""

    node_id: NodeID
    weight: int
    proof: bytes
    """Its BLS key (48 bytes) and the proof of possession (96 bytes)."""


class Wallet:
    """Pays for transactions and signs them with `LOCAL_KEY`; the result is deterministic.

    Raises `MissingExtra` if the package that signs, ecdsa, is not installed.
    """

    def __init__(self, network_id: int) -> None:
        try:
            import ecdsa  # type: ignore[import-untyped]
        except ImportError:
            raise MissingExtra("signing transactions", package="ecdsa", extra="network") from None
        self._network_id = network_id
        self._ecdsa = ecdsa
        self._key = ecdsa.SigningKey.from_string(LOCAL_KEY, ecdsa.SECP256k1)

    def create_subnet(self, utxos: Iterable[UTXO]) -> Transaction:
        """A transaction for a subnet on which `LOCAL_KEY` may create chains.

        Raises `NetworkError` if `utxos`, all of one asset, can't pay for it.
        """
        return self._transaction(_CREATE_SUBNET, utxos, _write_owner(Writer().type_id(_OWNER)))

    def create_chain(
        self, utxos: Iterable[UTXO], subnet_id: ID, name: str, vm_id: ID, genesis: bytes
    ) -> Transaction:
        """A transaction for a chain: `name` has at most 128 ASCII letters, digits and spaces.

        Raises `NetworkError` if `utxos`, all of one asset, can't pay for it.
        """
        chain = Writer(max_size=None).fixed(subnet_id).string(name).fixed(vm_id)
        chain.count(0)  # feature extensions
        chain.blob(genesis).type_id(_SUBNET_AUTHORISATION).sequence((0,), Writer.u32)
        return self._transaction(_CREATE_CHAIN, utxos, chain, authorisations=1)

    def convert_subnet(
        self, utxos: Iterable[UTXO], subnet_id: ID, chain_id: ID, validators: Iterable[Validator]
    ) -> Transaction:
        """A transaction that gives a subnet its own validators (`ConvertSubnetToL1Tx`).

        `chain_id` is the chain that could change them. A subnet can be converted once. Raises
        `NetworkError` if `utxos`, all of one asset, can't pay for it.
        """
        ordered = sorted(validators, key=lambda validator: validator.node_id)
        subnet = Writer().fixed(subnet_id).fixed(chain_id).blob(b"").sequence(ordered, _write_validator)
        subnet.type_id(_SUBNET_AUTHORISATION).sequence((0,), Writer.u32)
        balances = VALIDATOR_BALANCE * len(ordered)
        return self._transaction(_CONVERT_SUBNET, utxos, subnet, authorisations=1, balances=balances)

    def _transaction(
        self, type_id: int, utxos: Iterable[UTXO], rest: Writer, authorisations: int = 0, balances: int = 0
    ) -> Transaction:
        cost = FEE + balances
        spent = _choose(utxos, cost)
        asset_id, change = spent[0].asset_id, sum(utxo.amount for utxo in spent) - cost
        writer = Writer(max_size=None).version(_CODEC_VERSION).type_id(type_id).u32(self._network_id)
        writer.fixed(ID.EMPTY)  # the P-chain's own ID
        writer.count(1 if change else 0)
        if change:
            _write_owner(writer.fixed(asset_id).type_id(_TRANSFER_OUTPUT).u64(change))
        writer.sequence(spent, lambda writer, utxo: utxo.write_input(writer))
        writer.blob(b"").fixed(rest.getvalue())  # nodes accept only an empty memo
        signature = self._sign(writer.getvalue())
        writer.count(len(spent) + authorisations)
        for _ in range(len(spent) + authorisations):
            writer.type_id(_CREDENTIAL).sequence((signature,), Writer.fixed)
        raw = writer.getvalue()
        return Transaction(raw, (UTXO(ID.of(raw), 0, asset_id, change),) if change else ())

    def _sign(self, unsigned: bytes) -> bytes:
        """Sign the SHA-256 of a transaction: r, s and the recovery ID (0 or 1), 65 bytes."""
        curve, digest = self._ecdsa.SECP256k1, hashlib.sha256(unsigned).digest()
        signature: bytes = self._key.sign_digest_deterministic(
            digest, hashlib.sha256, sigencode=self._ecdsa.util.sigencode_string_canonize
        )
        # The two public keys that fit a signature are in the order of their recovery IDs.
        keys = self._ecdsa.VerifyingKey.from_public_key_recovery_with_digest(
            signature, digest, curve, hashlib.sha256
        )
        ours = self._key.verifying_key.to_string()
        return signature + bytes([[key.to_string() for key in keys].index(ours)])


def _choose(utxos: Iterable[UTXO], cost: int) -> list[UTXO]:
    """The largest outputs that pay the cost, in the order that nodes require."""
    chosen: list[UTXO] = []
    for utxo in sorted(utxos, key=lambda utxo: utxo.amount, reverse=True):
        if utxo.is_ours and sum(each.amount for each in chosen) < cost:
            chosen.append(utxo)
    total = sum(utxo.amount for utxo in chosen)
    if total < cost:
        raise NetworkError(f"a transaction costs {cost}, and only {total} can be spent (in 10**-9 tokens)")
    return sorted(chosen, key=lambda utxo: (utxo.tx_id, utxo.index))


def _write_owner(writer: Writer) -> Writer:
    """Write `LOCAL_KEY` as the only owner, without lock time."""
    return writer.u64(0).u32(1).sequence((LOCAL_ADDRESS,), Writer.fixed)


def _write_validator(writer: Writer, validator: Validator) -> None:
    writer.blob(validator.node_id).u64(validator.weight).u64(VALIDATOR_BALANCE).fixed(validator.proof)
    writer.u32(1).sequence((LOCAL_ADDRESS,), Writer.fixed)  # gets the remaining balance
    writer.u32(1).sequence((LOCAL_ADDRESS,), Writer.fixed)  # may deactivate it
