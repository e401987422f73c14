"""Makes transactions for AvalancheGo's xsvm. Needs btclib-secp256k1. As a script, it writes the
genesis.

The chain has many accounts and each transaction is sent from the next one, because the VM reports
only the nonces of accepted blocks.
"""

import base64
import hashlib
import itertools
import struct
import sys

import httpx
from btclib_secp256k1 import keys, recovery

from vmsdk import cb58
from vmsdk.ids import ID

VERSION = bytes(2)
TRANSFER = bytes(4)
KEYS = range(1, 201)
RECIPIENT = bytes(20)

_next_key = itertools.cycle(KEYS).__next__


def address(key: int) -> bytes:
    return hashlib.new("ripemd160", hashlib.sha256(keys.pubkey_from_prvkey(key)).digest()).digest()


def genesis() -> bytes:
    """Give each account a million."""
    time_s = 1_600_000_000
    allocations = b"".join(address(key) + struct.pack(">Q", 1_000_000) for key in KEYS)
    return VERSION + struct.pack(">QI", time_s, len(KEYS)) + allocations


def call(client: httpx.Client, method: str, **params: object) -> dict[str, str]:
    body = {"jsonrpc": "2.0", "id": 1, "method": f"xsvm.{method}", "params": params}
    response = client.post("", json=body).raise_for_status().json()
    result: dict[str, str] = response["result"]
    return result


def issue(client: httpx.Client) -> None:
    """Send one unit from the next account."""
    key = _next_key()
    chain_id = ID.from_string(call(client, "network")["chainID"])
    nonce = int(call(client, "nonce", address=cb58.encode(address(key)))["nonce"])
    fields = struct.pack(">32sQQ32sQ20s", chain_id, nonce, 0, chain_id, 1, RECIPIENT)
    unsigned = TRANSFER + fields
    signature, recovery_id = recovery.sign(hashlib.sha256(VERSION + unsigned).digest(), key)
    signed = VERSION + unsigned + signature + bytes([recovery_id])
    call(client, "issueTx", tx=base64.b64encode(signed).decode())


if __name__ == "__main__":
    sys.stdout.buffer.write(genesis())
