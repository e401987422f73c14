"""TokensVM: a chain of accounts that send tokens to each other, by signed transfers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import vmsdk
from vmsdk import chain
from vmsdk.http import subpaths

MIN_FEE = 10
"""What a transfer must pay; fees are burned."""
MAX_SUPPLY = 2**64 - 1
"""No balance can exceed it, so none overflows."""


@dataclass
class Account:
    balance: chain.U64 = 0
    nonce: chain.U64 = 0
    """How many transfers the account has sent."""


ACCOUNTS = chain.Table(b"account/", chain.Address, Account, default=Account())


class Transfer(chain.Signed):
    to: chain.Address
    amount: chain.U64
    fee: chain.U64
    nonce: chain.U64

    @property
    def sequence(self) -> int:
        return self.nonce

    @property
    def priority(self) -> int:
        return self.fee


class TokensVM(chain.Chain):
    """Genesis data is JSON, hexadecimal addresses with balances: `{"01ab…": 1000}`."""

    version = "1.0.0"
    transaction = Transfer

    def genesis(self, state: chain.State, data: bytes) -> None:
        balances = json.loads(data or b"{}")
        if sum(balances.values()) > MAX_SUPPLY:
            raise ValueError(f"the balances of the genesis exceed {MAX_SUPPLY} together")
        for address, balance in balances.items():
            ACCOUNTS.of(state)[bytes.fromhex(address)] = Account(balance)

    def execute(self, state: chain.State, tx: Transfer, block: chain.Header) -> None:
        accounts = ACCOUNTS.of(state)
        sender = accounts[tx.sender]
        if tx.fee < MIN_FEE:
            raise chain.Invalid("the fee is too low", fee=tx.fee, minimum=MIN_FEE)
        if tx.nonce > sender.nonce:
            raise chain.NotYet("earlier transfers are missing", nonce=tx.nonce, next=sender.nonce)
        if tx.nonce < sender.nonce:
            raise chain.Invalid("the nonce was used before", nonce=tx.nonce, next=sender.nonce)
        left = sender.balance - tx.amount - tx.fee
        if left < 0:
            raise chain.Invalid("the balance is too low", balance=sender.balance, missing=-left)
        sender.balance = left
        sender.nonce += 1
        accounts[tx.sender] = sender
        recipient = accounts[tx.to]  # may be the sender
        recipient.balance += tx.amount
        accounts[tx.to] = recipient
        state.emit(tx.sender)
        if tx.to != tx.sender:
            state.emit(tx.to)

    # HTTP -----------------------------------------------------------------------------------------

    def create_handlers(self) -> dict[str, Any]:
        from tokensapi import create_app  # the wallet, which imports this file, needs no FastAPI

        return {subpaths("/api"): create_app(self)}

    def info(self) -> dict[str, Any]:
        """Return what a wallet needs to know about the chain."""
        return {"chain_id": str(self.ctx.chain_id), "height": self.last.height, "min_fee": MIN_FEE}

    def status_of(self, transfer_id: vmsdk.ID) -> dict[str, Any]:
        """Return the status of a transfer. Raises `NotFound` for an unknown one."""
        waits = transfer_id in self.pool  # looked up first, since it may be accepted in between
        try:
            return {"status": "accepted", "height": self.receipt(transfer_id).height}
        except vmsdk.NotFound:
            if waits:
                return {"status": "waiting"}
            reason = self.dropped(transfer_id)
            if reason is None:
                raise
            return {"status": "dropped", "reason": reason}

    def account(self, address: bytes) -> dict[str, Any]:
        """Return an account's balance, and the nonce after its waiting transfers."""
        with self.snapshot() as state, self.snapshot(pending=True) as pending:
            account, later = ACCOUNTS.of(state)[address], ACCOUNTS.of(pending)[address]
        return {
            "address": address.hex(),
            "balance": account.balance,
            "nonce": account.nonce,
            "next_nonce": later.nonce,
        }

    def block_to_json(self, block: chain.Block) -> dict[str, Any]:
        """Return a block and its transfers as JSON values."""
        return {
            "id": str(block.id),
            "height": block.height,
            "timestamp": block.timestamp,
            "transfers": [self.transfer_to_json(self.decode(raw)) for raw in block.transactions],
        }

    def transfer_to_json(self, tx: Transfer) -> dict[str, Any]:
        """Return a transfer as JSON values."""
        return {
            "id": str(tx.id),
            "sender": tx.sender.hex(),
            "to": tx.to.hex(),
            "amount": tx.amount,
            "fee": tx.fee,
            "nonce": tx.nonce,
        }


if __name__ == "__main__":
    vmsdk.serve(TokensVM())
