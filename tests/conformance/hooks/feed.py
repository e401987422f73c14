"""Makes transactions for examples/feed."""

import httpx


def issue(client: httpx.Client) -> None:
    """Post a message, which the chain makes unique."""
    client.post("/api/messages", json={"text": "hello"}).raise_for_status()
