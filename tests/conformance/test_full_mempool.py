"""A VM whose mempool takes few transactions: the checks that need more are skipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vmsdk import cli

# Takes two transactions at once.
VM = """\
import vmsdk
from vmsdk import chain
from vmsdk.http import JSONRPC


class Small(chain.Chain):
    version = "1.0.0"
    limits = chain.Limits(mempool_transactions=2)

    def execute(self, state, tx, block):
        state[b"last"] = tx

    def create_handlers(self):
        return {"": JSONRPC({"write": lambda text: self.submit(text.encode())})}
"""
BROKEN_HOOK = """\
texts = iter("abc")


def issue(client):
    body = {"jsonrpc": "2.0", "id": 1, "method": "write", "params": [next(texts)]}
    assert "result" in client.post("", json=body).json()
    if body["params"] != ["a"]:
        {}["a bug of the hook"]
"""
REQUEST = '{"jsonrpc": "2.0", "id": 1, "method": "write", "params": ["{n}"]}'
CHECK = "blocks.reading-changes-no-build"


def result_of(folder: Path, *arguments: str) -> dict[str, Any]:
    (folder / "small.py").write_text(VM)
    report = folder / "report.json"
    cli.main(["check", str(folder / "small.py"), *arguments, "--only", CHECK, "--json", str(report)])
    (result,) = json.loads(report.read_text())["results"]
    return dict(result)


@pytest.mark.timeout(300)
def test_a_check_that_needs_more_transactions_is_skipped(tmp_path: Path) -> None:
    result = result_of(tmp_path, "--request", REQUEST)
    assert result["verdict"] == "skipped"
    assert result["why"] == "the mempool takes no more than 2 of the hook's transactions at once"


@pytest.mark.timeout(300)
def test_a_bug_of_the_hook_stays_one(tmp_path: Path) -> None:
    (tmp_path / "hook.py").write_text(BROKEN_HOOK)
    result = result_of(tmp_path, "--hook", str(tmp_path / "hook.py"))
    assert result["verdict"] == "hook failed"
    assert "KeyError: 'a bug of the hook'" in result["why"]
