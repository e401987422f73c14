"""The VM that README has its readers write, run and called as README says."""

from __future__ import annotations

import json
import re
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from vmsdk.host.errors import CallFailed
from vmsdk.host.http import HTTPFront
from vmsdk.host.identity import DEFAULT_NODE_ID
from vmsdk.host.node import Host
from vmsdk.protocol import DEFAULT_PROTOCOL, protocol
from vmsdk.state import Event

from .devcommand import Dev, call, request
from .plugin import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHAINVM = (ROOT / "docs" / "chainvm.md").read_text(encoding="utf-8")


@pytest.fixture
def guest_book(tmp_path: Path) -> Path:
    """The file that readers save."""
    source = re.search(r"^```python\n(.*?)^```$", CHAINVM, re.MULTILINE | re.DOTALL)
    assert source is not None
    file = tmp_path / "guestbook.py"
    file.write_text(source[1])
    return file


def test_the_guest_book_is_written_and_read(guest_book: Path, tmp_path: Path) -> None:
    body = re.search(r"-d '(\{.*\"method\":\"write\".*\})'", README)
    assert body is not None
    with Dev(guest_book.name, "--reload", folder=tmp_path) as dev:
        url = dev.url()
        assert url.endswith("/ext/bc/guestbook")
        status, answer = request(url, body[1].encode())
        assert (status, json.loads(answer)["result"]) == (200, "thank you")
        dev.line(r"^block 1 ")
        assert call(url, "read") == ["Hello, chain!"]
        too_long = {"jsonrpc": "2.0", "id": 1, "method": "write", "params": {"text": "x" * 141}}
        _, answer = request(url, json.dumps(too_long).encode())
        assert json.loads(answer)["error"]["message"] == "an entry has 1 to 140 characters, not 141"
        dev.interrupt()
        assert dev.wait() == 0


def test_an_entry_of_the_guest_book_waits_until_a_block_with_it_is_accepted(guest_book: Path) -> None:
    front = HTTPFront(protocol(DEFAULT_PROTOCOL), DEFAULT_NODE_ID)
    with Host([sys.executable, str(guest_book)], protocol=DEFAULT_PROTOCOL) as host, ExitStack() as stack:
        chain = host.chain
        front.start()
        stack.callback(front.stop)
        front.add_chain(chain.config.chain_id, ["book"], chain.handlers)
        front.set_normal_op(chain.config.chain_id, True)
        for text in ("one", "two"):
            assert call(f"http://{front.address}/ext/bc/book", "write", text=text) == "thank you"
        assert chain.build_block().raw.endswith(b"one")  # the node loses it
        rejected = chain.build_block()
        chain.verify(rejected)
        accepted = chain.build_block()
        chain.verify(accepted)
        assert chain.accept(accepted) == [rejected]
        assert chain.next_event(PATIENCE_S) is Event.BUILD_BLOCK
        assert [block.raw[-3:] for block in (accepted, chain.produce())] == [b"two", b"one"]
        with pytest.raises(CallFailed, match="nothing to build"):
            chain.build_block()
