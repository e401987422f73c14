"""Makes transactions for `goodvm.py`: `vmsdk check --hook` runs it."""

import os

import httpx


def issue(client: httpx.Client) -> None:
    """Propose a different transaction each time."""
    client.post("", content=os.urandom(8)).raise_for_status()
