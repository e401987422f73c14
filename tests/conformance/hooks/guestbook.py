"""Makes transactions for examples/guestbook."""

import os

import httpx


def issue(client: httpx.Client) -> None:
    """Write a random text."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "write", "params": [os.urandom(16).hex()]}
    response = client.post("", json=body)
    assert "result" in response.json(), response.text
