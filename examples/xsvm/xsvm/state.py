"""The keys of the state and their values.

| key | value |
|---|---|
| empty | empty, once the chain has begun |
| 0 | the ID of the last accepted block |
| 0, height (u64) | the ID of the block at this height |
| 0, block ID | the block |
| 1, address | the nonce of the account (u64) |
| 1, address, chain ID | the balance of this chain's asset (u64); none for 0 |
| 2, chain ID | what was exported to this chain and has not returned (u64); none for 0 |
| 2, chain ID, message ID | empty: the message of this chain was imported |
| 3, transaction ID | the unsigned warp message of this export |
"""

from __future__ import annotations

from vmsdk.chain import Invalid, State
from vmsdk.ids import ID
from xsvm.blocks import Block

INITIALIZED = b""
BLOCKS = b"\0"
ADDRESSES = b"\1"
CHAINS = b"\2"
MESSAGES = b"\3"

MAX_U64 = 2**64 - 1


# Blocks -------------------------------------------------------------------------------------------


def last_accepted(state: State) -> ID:
    """Return the ID of the last accepted block."""
    return ID(state[BLOCKS])


def block_id_at(state: State, height: int) -> ID:
    """Return the ID of the block at *height*. Raises `NotFound`."""
    return ID(state[BLOCKS + _u64(height)])


def get_block(state: State, block_id: ID) -> bytes:
    """Return a block. Raises `NotFound`."""
    return state[BLOCKS + block_id]


def add_block(state: State, block: Block) -> None:
    """Store *block* as the last accepted one."""
    state[BLOCKS] = block.id
    state[BLOCKS + _u64(block.height)] = block.id
    state[BLOCKS + block.id] = block.raw


# Accounts -----------------------------------------------------------------------------------------


def nonce(state: State, address: bytes) -> int:
    """Return how many transactions the account has sent."""
    return state.get_int(ADDRESSES + address)


def increment_nonce(state: State, address: bytes, given: int) -> None:
    """Count a transaction. Raises `Invalid` unless it has the account's nonce."""
    expected = nonce(state, address)
    if given != expected:
        raise Invalid("wrong nonce", nonce=given, expected=expected)
    state[ADDRESSES + address] = _u64(given + 1)


def balance(state: State, address: bytes, asset_id: ID) -> int:
    """Return the account's balance of an asset."""
    return state.get_int(ADDRESSES + address + asset_id)


def set_balance(state: State, address: bytes, asset_id: ID, amount: int) -> None:
    """Set the account's balance of an asset."""
    _set_amount(state, ADDRESSES + address + asset_id, amount)


def decrease_balance(state: State, address: bytes, asset_id: ID, amount: int) -> None:
    """Take *amount* from the account. Raises `Invalid` if it owns less."""
    _decrease(state, ADDRESSES + address + asset_id, amount)


def increase_balance(state: State, address: bytes, asset_id: ID, amount: int) -> None:
    """Give *amount* to the account. Raises `Invalid` if the balance would exceed 64 bits."""
    _increase(state, ADDRESSES + address + asset_id, amount)


# Other chains -------------------------------------------------------------------------------------


def loan(state: State, chain_id: ID) -> int:
    """Return how much of this chain's asset is on the chain *chain_id*."""
    return state.get_int(CHAINS + chain_id)


def decrease_loan(state: State, chain_id: ID, amount: int) -> None:
    """Record that *amount* returns. Raises `Invalid` if less was exported."""
    _decrease(state, CHAINS + chain_id, amount)


def increase_loan(state: State, chain_id: ID, amount: int) -> None:
    """Record that *amount* is exported. Raises `Invalid` if the sum would exceed 64 bits."""
    _increase(state, CHAINS + chain_id, amount)


def add_import(state: State, chain_id: ID, message_id: ID) -> None:
    """Record that a message is imported. Raises `Invalid` if it already was."""
    key = CHAINS + chain_id + message_id
    if key in state:
        raise Invalid("duplicate import", message=message_id)
    state[key] = b""


def get_message(state: State, transaction_id: ID) -> bytes:
    """Return the unsigned warp message of an export. Raises `NotFound`."""
    return state[MESSAGES + transaction_id]


def set_message(state: State, transaction_id: ID, message: bytes) -> None:
    """Store the unsigned warp message of an export."""
    state[MESSAGES + transaction_id] = message


# Amounts ------------------------------------------------------------------------------------------


def _u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def _set_amount(state: State, key: bytes, amount: int) -> None:
    if amount:
        state[key] = _u64(amount)
    else:
        del state[key]


def _decrease(state: State, key: bytes, amount: int) -> None:
    before = state.get_int(key)
    if before < amount:
        raise Invalid("insufficient balance", balance=before, amount=amount)
    _set_amount(state, key, before - amount)


def _increase(state: State, key: bytes, amount: int) -> None:
    after = state.get_int(key) + amount
    if after > MAX_U64:
        raise Invalid("the sum exceeds 64 bits", amount=amount)
    _set_amount(state, key, after)
