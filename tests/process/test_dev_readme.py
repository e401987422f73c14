"""The VM that README has its readers write, run and called as README says."""

from __future__ import annotations

import json
import re
from pathlib import Path

from .devcommand import Dev, call, request

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_guest_book_is_written_and_read(tmp_path: Path) -> None:
    source = re.search(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    body = re.search(r"-d '(\{.*\"method\":\"write\".*\})'", README)
    assert source is not None
    assert body is not None
    (tmp_path / "guestbook.py").write_text(source[1])
    with Dev("guestbook.py", "--reload", folder=tmp_path) as dev:
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
