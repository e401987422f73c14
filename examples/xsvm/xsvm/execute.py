"""The rules: what a block and its transactions change in the state."""

from __future__ import annotations

from dataclasses import dataclass

from vmsdk import warp
from vmsdk.chain import Invalid, State
from vmsdk.errors import InvalidEncoding
from vmsdk.ids import ID
from xsvm import state as states
from xsvm.blocks import Block
from xsvm.genesis import Genesis
from xsvm.transactions import Export, Import, Payload, Transaction, Transfer
from xsvm.warp import Verify


@dataclass(frozen=True)
class Environment:
    """What the rules need besides the state."""

    network_id: int
    """32 bits."""
    chain_id: ID
    p_chain_height: int | None
    """Where the validators of other chains are looked up; None in a block without imports."""
    verify: Verify
    """Checks the signatures of imported messages."""


def execute_genesis(state: State, chain_id: ID, genesis: Genesis) -> None:
    """Fill the state of a new chain."""
    for allocation in genesis.allocations:
        states.set_balance(state, allocation.address, chain_id, allocation.balance)
    states.add_block(state, genesis.block)
    state[states.INITIALIZED] = b""


def execute_block(state: State, environment: Environment, block: Block) -> None:
    """Apply the transactions of *block*, and store it. Raises `Invalid`."""
    if not block.transactions:
        raise Invalid("no transactions")
    for transaction in block.transactions:
        execute_transaction(state, environment, transaction)
    states.add_block(state, block)


def expects_context(block: Block) -> bool:
    """Return whether *block* must be verified at a P-chain height."""
    return any(isinstance(each.unsigned, Import) for each in block.transactions)


def execute_transaction(state: State, environment: Environment, transaction: Transaction) -> None:
    """Apply one transaction. Raises `Invalid`; the caller must then drop the state."""
    unsigned = transaction.unsigned
    if isinstance(unsigned, Transfer):
        execute_transfer(state, environment, transaction.sender, unsigned)
    elif isinstance(unsigned, Export):
        execute_export(state, environment, transaction, unsigned)
    else:
        execute_import(state, environment, transaction.sender, unsigned)


def execute_transfer(state: State, environment: Environment, sender: bytes, transfer: Transfer) -> None:
    """Move an asset on this chain. Raises `Invalid`."""
    must_be_for(environment.chain_id, transfer)
    states.increment_nonce(state, sender, transfer.nonce)
    states.decrease_balance(state, sender, transfer.asset_id, transfer.amount)
    states.increase_balance(state, transfer.to, transfer.asset_id, transfer.amount)


def execute_export(state: State, environment: Environment, transaction: Transaction, export: Export) -> None:
    """Take an asset from the sender, and create a message for the peer chain. Raises `Invalid`."""
    must_be_for(environment.chain_id, export)
    sender = transaction.sender
    states.increment_nonce(state, sender, export.nonce)
    if export.is_return:
        states.decrease_balance(state, sender, export.peer_chain_id, export.amount)
    else:
        states.decrease_balance(state, sender, export.chain_id, export.amount)
        states.increase_loan(state, export.peer_chain_id, export.amount)
    payload = Payload(sender, export.nonce, export.is_return, export.amount, export.to)
    message = warp.UnsignedMessage(environment.network_id, export.chain_id, payload.to_bytes())
    states.set_message(state, transaction.id, message.encode())


def execute_import(state: State, environment: Environment, sender: bytes, imported: Import) -> None:
    """Give an asset to the receiver in the message. Anyone may send it. Raises `Invalid`."""
    if environment.p_chain_height is None:
        raise Invalid("an import needs a block with a P-chain height")
    try:
        message = warp.Message.decode(imported.message)
    except InvalidEncoding as error:
        raise Invalid(f"the message can't be decoded: {error}") from None
    payload = Payload.from_bytes(message.unsigned.payload)
    source = message.unsigned.source_chain_id
    states.increment_nonce(state, sender, imported.nonce)
    if payload.is_return:
        states.increase_balance(state, payload.to, environment.chain_id, payload.amount)
        states.decrease_loan(state, source, payload.amount)
    else:
        states.increase_balance(state, payload.to, source, payload.amount)
    states.add_import(state, source, message.unsigned.id)
    environment.verify(message, environment.p_chain_height)


def must_be_for(chain_id: ID, unsigned: Transfer | Export) -> None:
    """Raise `Invalid` if the transaction is for another chain."""
    if unsigned.chain_id != chain_id:
        raise Invalid("wrong chain ID", given=unsigned.chain_id, chain=chain_id)
