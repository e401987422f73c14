"""The key that funds local networks: it pays for P-chain transactions and signs them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable

from vmsdk.errors import MissingExtra
from vmsdk.network.errors import NetworkError
from vmsdk.network.transactions import UTXO, Input, Output, Owner, Payment, Signed, Unsigned, unsigned_bytes

LOCAL_KEY = bytes.fromhex("56289e99c94b6912bfc12adc093c9b51124f0dc54ac7a766b2bc5ccf558d8027")
"""The private key that the genesis of every local network funds. It is public: never use it elsewhere."""
LOCAL_ADDRESS = bytes.fromhex("3cb7d3842e8cee6a0ebd09f1fe884f6861e1b29c")
"""The address of `LOCAL_KEY`: 20 bytes, RIPEMD-160 of SHA-256 of the compressed public key."""
FEE = 10**9
"""One token for a transaction. Fees are dynamic and nodes accept more than they ask for; on a local
network they ask for far less."""

OWNER = Owner((LOCAL_ADDRESS,))
"""The owner of everything made here: `LOCAL_KEY` alone."""


class Wallet:
    """Pays for transactions and signs them with `LOCAL_KEY`.

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

    def pay(self, utxos: Iterable[UTXO], fee: int = FEE) -> Payment:
        """Pay `fee` out of `utxos`, all of one asset, the largest first. The change comes back to this wallet.

        Raises `NetworkError` if this key can't spend that much alone and now.
        """
        spendable = [utxo for utxo in utxos if _may_spend(utxo.output.owner)]
        spendable.sort(key=lambda utxo: utxo.output.amount, reverse=True)
        chosen: list[UTXO] = []
        total = 0
        for utxo in spendable:
            if total >= fee:
                break
            chosen.append(utxo)
            total += utxo.output.amount
        if total < fee:
            raise NetworkError(f"a transaction costs {fee}, and only {total} can be spent (in 10**-9 tokens)")
        change = (Output(chosen[0].output.asset_id, total - fee, OWNER),) if total > fee else ()
        inputs = sorted(map(_input, chosen), key=lambda spent: (spent.tx_id, spent.index))
        return Payment(self._network_id, tuple(inputs), change)

    def sign(self, transaction: Unsigned) -> Signed:
        """Sign for every input and for what else the transaction needs. The result is deterministic.

        A signature is r, s and the recovery ID (0 or 1), 65 bytes, over the SHA-256 of the unsigned transaction.
        """
        digest = hashlib.sha256(unsigned_bytes(transaction)).digest()
        signature = self._key.sign_digest_deterministic(
            digest, hashlib.sha256, sigencode=self._ecdsa.util.sigencode_string_canonize
        )
        # The two public keys that fit a signature come in the order of their recovery IDs.
        recovered = self._ecdsa.VerifyingKey.from_public_key_recovery_with_digest(
            signature, digest, self._ecdsa.SECP256k1, hashlib.sha256
        )
        recovery_id = [key.to_string() for key in recovered].index(self._key.verifying_key.to_string())
        count = len(transaction.payment.inputs) + transaction.signature_count
        return Signed(transaction, ((signature + bytes([recovery_id]),),) * count)


def change_of(signed: Signed) -> tuple[UTXO, ...]:
    """What the transaction leaves, for a next one to spend before the P-chain has even seen the first."""
    return tuple(UTXO(signed.id, i, output) for i, output in enumerate(signed.unsigned.payment.outputs))


def _may_spend(owner: Owner) -> bool:
    return owner.threshold == 1 and LOCAL_ADDRESS in owner.addresses and owner.locktime_s <= time.time()


def _input(utxo: UTXO) -> Input:
    output = utxo.output
    signer = output.owner.addresses.index(LOCAL_ADDRESS)
    return Input(utxo.tx_id, utxo.index, output.asset_id, output.amount, (signer,))
