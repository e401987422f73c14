"""The examples under `vmsdk.testing`: each passes `check`, and the token chain keeps its
specification as a plugin too.
"""

from __future__ import annotations

import subprocess
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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_specification_of_tokens_holds_for_a_plugin() -> None:
    specification = Path(__file__).with_name("test_tokens_spec.py")
    command = [sys.executable, "-m", "pytest", "-q", "--vm-process", "--timeout=300", str(specification)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
