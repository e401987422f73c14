"""Makes transactions for examples/timestamp."""

import os

import httpx


def issue(client: httpx.Client) -> None:
    """Propose 32 random bytes."""
    params = {"data": os.urandom(32).hex()}
    body = {"jsonrpc": "2.0", "id": 1, "method": "timestampvm.proposeBlock", "params": params}
    response = client.post("", json=body)
    assert "result" in response.json(), response.text
