"""The guest book as its README has readers use it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from .devcommand import Dev, call, request

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "guestbook"


def test_an_entry_is_written_and_read_as_readme_says(tmp_path: Path) -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    write, read = re.findall(r"-d '(\{.*\})'", readme)
    expected = re.search(r'^\{"jsonrpc".*$', readme, re.MULTILINE)
    assert expected is not None
    with Dev(FOLDER / "guestbook.py", folder=tmp_path) as dev:
        url = dev.url()
        assert url.endswith("/ext/bc/guestbook")
        status, response = request(url, write.encode())
        assert (status, set(json.loads(response))) == (200, {"jsonrpc", "result", "id"})
        dev.line(r"^block 1 ")
        assert request(url, read.encode()) == (200, expected[0].encode())


def test_entries_are_read_in_pages_and_bad_ones_refused(tmp_path: Path) -> None:
    with Dev(FOLDER / "guestbook.py", folder=tmp_path) as dev:
        url = dev.url()
        for number in range(3):
            call(url, "write", text=f"entry {number}")
            dev.line(rf"^block {number + 1} ")
        assert call(url, "read", start=1, limit=1) == ["entry 1"]
        assert call(url, "read", start=1) == ["entry 1", "entry 2"]
        assert call(url, "read", start=-5, limit=-5) == call(url, "read", start=2**64) == []
        for text, length in (("", 0), ("é" * 71, 142)):
            body = {"jsonrpc": "2.0", "id": 1, "method": "write", "params": [text]}
            error = json.loads(request(url, json.dumps(body).encode())[1])["error"]
            assert error["message"] == f"an entry has 1 to 140 bytes (length={length})"
        dev.interrupt()
        assert dev.wait() == 0


def test_it_has_at_most_40_lines() -> None:
    assert len((FOLDER / "guestbook.py").read_text(encoding="utf-8").splitlines()) <= 40
