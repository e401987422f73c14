"""Every example passes `vmsdk.testing.check`, whether on `vmsdk.chain` or on bare `ChainVM`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from vmsdk.testing import check

for example in ("feed", "guestbook", "timestamp"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / example))

from feedvm import FeedVM, Message  # noqa: E402
from guestbook import GuestBook  # noqa: E402
from timestampvm import TimestampVM  # noqa: E402


def propose(client: httpx.Client, data: bytes) -> Any:
    params = {"data": data.hex()}
    body = {"jsonrpc": "2.0", "id": 1, "method": "timestampvm.proposeBlock", "params": params}
    reply = client.post("", json=body).json()
    assert "result" in reply, reply


@pytest.mark.parametrize(
    ("vm", "options"),
    [
        (GuestBook, {"txs": [b"one", b"two", b"three"]}),
        (FeedVM, {"txs": [Message("hello", bytes([number] * 8)) for number in range(3)]}),
        (TimestampVM, {"txs": [bytes([number] * 32) for number in range(3)], "issue": propose}),
    ],
)
def test_an_example_passes_every_check(vm: Any, options: dict[str, Any]) -> None:
    check(vm, **options)
