"""The birth of a chain: the transactions that make a subnet and the chain on it.

They are signed before they are issued, because nodes read what belongs to a chain's ID (names, configuration) only at their start, and
run a chain as soon as it is made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from typing_extensions import Self

from vmsdk.ids import ID
from vmsdk.network.newchain import NewChain
from vmsdk.network.pchain import PChain
from vmsdk.network.transactions import UTXO, CreateChain, CreateSubnet, Signed
from vmsdk.network.wallet import Wallet, change_of


@dataclass(frozen=True)
class Birth:
    """Signed transactions that were not issued yet."""

    name: str
    vm_id: ID
    create_subnet: Signed
    create_chain: Signed

    @classmethod
    def plan(cls, new: NewChain, vm_id: ID, utxos: Sequence[UTXO]) -> Self:
        """Plans a chain that `utxos` pay for.

        Raises:
            NotEnoughFunds: they do not suffice.
            MissingExtra: the package that signs is not installed.
        """
        wallet = Wallet()
        subnet = wallet.sign(CreateSubnet(wallet.pay(utxos), wallet.owner))
        payment = wallet.pay(change_of(subnet))
        chain = wallet.sign(CreateChain(payment, subnet.id, _title(new.name), vm_id, new.genesis))
        return cls(new.name, vm_id, subnet, chain)

    @property
    def subnet_id(self) -> ID:
        return self.create_subnet.id

    @property
    def chain_id(self) -> ID:
        return self.create_chain.id

    @property
    def change(self) -> tuple[UTXO, ...]:
        """What pays for a next chain."""
        return change_of(self.create_chain)

    def is_payable(self, utxos: Sequence[UTXO]) -> bool:
        """Whether all that the transactions spend is among `utxos`."""
        there = {(utxo.tx_id, utxo.index) for utxo in utxos}
        return all(
            (spent.tx_id, spent.index) in there for spent in self.create_subnet.unsigned.payment.inputs
        )

    def issue(self, pchain: PChain) -> None:
        """Makes the subnet and the chain; nodes that know of them begin to run the chain.

        Raises:
            TransactionFailed: the P-chain does not take a transaction.
        """
        steps = ((self.create_subnet, "make a subnet"), (self.create_chain, f"make the chain {self.name}"))
        for transaction, what in steps:
            pchain.issue(transaction, what)
            pchain.wait_committed(transaction, what)


def _title(name: str) -> str:
    """The P-chain's name for the chain: it allows letters, digits and spaces only."""
    return re.sub("[-_]", " ", name)
