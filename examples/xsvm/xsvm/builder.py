"""The builder: keeps waiting transactions, and fills blocks with them."""

from __future__ import annotations

from collections.abc import Set
from contextlib import suppress
from logging import Logger

from vmsdk.chain import Invalid, Mempool, Overlay, Pending
from vmsdk.ids import ID
from xsvm.blocks import Block
from xsvm.execute import Environment, execute_transaction
from xsvm.transactions import Transaction

MAX_TRANSACTIONS = 10
"""In a block that is built here. A verified one may have more."""


class Builder:
    """Fills blocks with transactions in the order of their arrival. Thread-safe."""

    def __init__(self, log: Logger) -> None:
        self.mempool = Mempool()
        self._log = log

    def add(self, raw: bytes) -> ID:
        """Add a transaction, which is first executed when a block is built.

        Raises `Invalid` if it can't be decoded, `MempoolFull` if there is no room.
        """
        transaction = Transaction.from_bytes(raw)
        with suppress(Invalid):
            _ = transaction.sender  # checks the signature now, not while a block is built
        self.mempool.expire()
        self.mempool.add(Pending(transaction.id, raw, transaction))
        return transaction.id

    def has_work(self, held: Set[ID]) -> bool:
        """Return whether any transaction other than *held* is waiting."""
        return len(self.mempool) > len(held) or any(each.id not in held for each in self.mempool.all())

    def fill(self, state: Overlay, environment: Environment, held: Set[ID]) -> tuple[Transaction, ...]:
        """Execute waiting transactions on *state*, and return those for a block. Drops invalid
        ones. *held* are in undecided blocks already.
        """
        taken: list[Transaction] = []
        for pending in self.mempool.all():
            if len(taken) == MAX_TRANSACTIONS:
                break
            if pending.id in held:
                continue
            attempt = Overlay(state)
            try:
                execute_transaction(attempt, environment, pending.transaction)
            except Invalid as error:
                self.mempool.remove(pending.id, str(error))
                self._log.debug("transaction %s is dropped: %s", pending.id, error)
            else:
                state.absorb(attempt)
                taken.append(pending.transaction)
        return tuple(taken)

    def accepted(self, block: Block) -> None:
        """Forget the transactions of an accepted block."""
        for transaction in block.transactions:
            self.mempool.remove(transaction.id, "accepted")
