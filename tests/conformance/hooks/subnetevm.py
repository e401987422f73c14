"""Makes transactions for subnet-evm. Needs eth-account. As a script, it writes the genesis."""

import itertools
import json

import httpx
from eth_account import Account

CHAIN_ID = 43_112
KEYS = [Account.from_key(number.to_bytes(32, "big")) for number in range(1, 101)]
GAS_PRICE = 100 * 10**9

_next_key = itertools.cycle(KEYS).__next__


def genesis() -> str:
    """Give each account tokens, and build blocks without waiting."""
    fees = {
        "gasLimit": 8_000_000,
        "targetBlockRate": 2,
        "minBaseFee": 25_000_000_000,
        "targetGas": 15_000_000,
        "baseFeeChangeDenominator": 36,
        "minBlockGasCost": 0,
        "maxBlockGasCost": 1_000_000,
        "blockGasCostStep": 200_000,
    }
    allocations = {key.address[2:]: {"balance": hex(10**24)} for key in KEYS}
    return json.dumps(
        {
            "config": {"chainId": CHAIN_ID, "feeConfig": fees},
            "alloc": allocations,
            "nonce": "0x0",
            "timestamp": "0x0",
            "extraData": "0x",
            "gasLimit": hex(8_000_000),
            "difficulty": "0x0",
            "mixHash": "0x" + "00" * 32,
            "coinbase": "0x" + "00" * 20,
            "number": "0x0",
            "gasUsed": "0x0",
            "parentHash": "0x" + "00" * 32,
        }
    )


def call(client: httpx.Client, method: str, *params: object) -> str:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    response = client.post("/rpc", json=body).raise_for_status().json()
    result: str = response["result"]
    return result


def issue(client: httpx.Client) -> None:
    """Send one wei from the next account."""
    key = _next_key()
    transaction = {
        "chainId": CHAIN_ID,
        "nonce": int(call(client, "eth_getTransactionCount", key.address, "pending"), 16),
        "gasPrice": GAS_PRICE,
        "gas": 21_000,
        "to": "0x" + "11" * 20,
        "value": 1,
    }
    call(client, "eth_sendRawTransaction", "0x" + key.sign_transaction(transaction).raw_transaction.hex())


if __name__ == "__main__":
    print(genesis())
