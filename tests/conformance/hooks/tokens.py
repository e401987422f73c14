"""Makes transactions for examples/tokens, whose genesis is in tokens.json."""

import sys
from pathlib import Path

import httpx

from vmsdk.chain.keys import Ed25519Key
from vmsdk.ids import ID

sys.path.append(str(Path(__file__).parents[3] / "examples" / "tokens"))

from tokensvm import Transfer

KEY = Ed25519Key.from_hex("11" * 32)
"""Owns all tokens in the genesis."""
RECIPIENT = bytes(20)


def issue(client: httpx.Client) -> None:
    """Send one token."""
    chain = client.get("/api/chain").raise_for_status().json()
    account = client.get(f"/api/accounts/{KEY.address.hex()}").raise_for_status().json()
    transfer = Transfer(RECIPIENT, 1, chain["min_fee"], account["next_nonce"])
    raw = transfer.sign(KEY, ID.from_string(chain["chain_id"])).raw.hex()
    (result,) = client.post("/api/transfers", json={"raw": [raw]}).raise_for_status().json()
    assert result["error"] is None, result
