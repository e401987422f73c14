"""The key that local networks are funded with, and what it signs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable

from vmsdk.errors import MissingExtra
from vmsdk.ids import ID
from vmsdk.network import bech32
from vmsdk.network.errors import NotEnoughFunds
from vmsdk.network.transactions import UTXO, Input, Output, Owner, Payment, Signed, Unsigned, unsigned_bytes

LOCAL_NETWORK_ID = 12345
LOCAL_KEY = bytes.fromhex("56289e99c94b6912bfc12adc093c9b51124f0dc54ac7a766b2bc5ccf558d8027")
"""The private key that the genesis of every local network funds. Everybody knows it: never use it anywhere else."""
LOCAL_ADDRESS = "P-local18jma8ppw3nhx5r4ap8clazz0dps7rv5u00z96u"
"""The P-chain address of `LOCAL_KEY`."""
LOCAL_ASSET_ID = ID.from_string("2fombhL7aGPwj3KH4bfrmJwW6PVnMobf9Y2fn9GwxiAAJyFDbe")
"""The asset that fees are paid in, on local networks of AvalancheGo and MetalGo."""
FEE = 10**9
"""One token for a transaction. Fees are dynamic, and nodes accept more than they ask for: a local network's are far below this."""


def genesis_utxos() -> tuple[UTXO, ...]:
    """What the genesis of local networks gives `LOCAL_KEY` to spend at once, so that chains can be planned before a node runs."""
    owner = Owner((address_bytes(LOCAL_ADDRESS),))
    return (UTXO(ID.EMPTY, 0, Output(LOCAL_ASSET_ID, 20_000_000 * 10**9, owner)),)


class Wallet:
    """Pays for transactions and signs them with the key of local networks.

    Raises:
        MissingExtra: coincurve, which signs, is not installed.
    """

    def __init__(self) -> None:
        try:
            import coincurve
        except ImportError:
            raise MissingExtra("signing transactions", package="coincurve", extra="network") from None
        self._key = coincurve.PrivateKey(LOCAL_KEY)
        self.address = address_bytes(LOCAL_ADDRESS)
        """20 bytes: RIPEMD-160 of SHA-256 of the compressed public key."""

    @property
    def owner(self) -> Owner:
        """The owner whose one key this is."""
        return Owner((self.address,))

    def pay(self, utxos: Iterable[UTXO], fee: int = FEE) -> Payment:
        """Pays `fee` out of `utxos`, the largest first; what is left over goes back to this wallet.

        Raises:
            NotEnoughFunds: what this key alone may spend now is less than the fee.
        """
        spendable = [
            utxo
            for utxo in utxos
            if utxo.output.asset_id == LOCAL_ASSET_ID and self._may_spend(utxo.output.owner)
        ]
        spendable.sort(key=lambda utxo: utxo.output.amount, reverse=True)
        chosen: list[UTXO] = []
        total = 0
        for utxo in spendable:
            if total >= fee:
                break
            chosen.append(utxo)
            total += utxo.output.amount
        if total < fee:
            raise NotEnoughFunds(fee, total)
        change = (Output(LOCAL_ASSET_ID, total - fee, self.owner),) if total > fee else ()
        return Payment(
            LOCAL_NETWORK_ID, tuple(self._input(utxo) for utxo in sorted(chosen, key=_spending_order)), change
        )

    def sign(self, transaction: Unsigned) -> Signed:
        """Signs for every input and for what else the transaction needs. The same transaction gets the same signature each time."""
        digest = hashlib.sha256(unsigned_bytes(transaction)).digest()
        signature = self._key.sign_recoverable(digest, hasher=None)
        count = len(transaction.payment.inputs) + transaction.signature_count
        return Signed(transaction, ((signature,),) * count)

    def _may_spend(self, owner: Owner) -> bool:
        return owner.threshold == 1 and self.address in owner.addresses and owner.locktime_s <= time.time()

    def _input(self, utxo: UTXO) -> Input:
        output = utxo.output
        signer = output.owner.addresses.index(self.address)
        return Input(utxo.tx_id, utxo.index, output.asset_id, output.amount, (signer,))


def change_of(signed: Signed) -> tuple[UTXO, ...]:
    """What the transaction will leave, to be spent by a next one before the P-chain has even seen the first."""
    return tuple(UTXO(signed.id, i, output) for i, output in enumerate(signed.unsigned.payment.outputs))


def address_bytes(address: str) -> bytes:
    """The 20 bytes of an address with or without the chain's alias (`P-local1…`).

    Raises:
        InvalidBech32: mistyped, or not of 20 bytes.
    """
    text = address.rpartition("-")[2]
    payload = bech32.decode(text)[1]
    if len(payload) != 20:
        raise bech32.InvalidBech32(text, f"an address has 20 bytes and this has {len(payload)}")
    return payload


def _spending_order(utxo: UTXO) -> tuple[bytes, int]:
    return utxo.tx_id, utxo.index
