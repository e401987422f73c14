"""A VM whose mempool takes few transactions: the checks that need more are skipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vmsdk import cli

VM = """\
import vmsdk
from vmsdk import chain
from vmsdk.http import JSONRPC, WSGI


class Small(chain.Chain):
    version = "1.0.0"
    limits = chain.Limits(mempool_transactions={room})
    written = 0

    def execute(self, state, tx, block):
        state[b"last"] = tx

    def write(self, text: str) -> str:
        self.written += 1
        if self.written > {sound}:
            raise RuntimeError("a bug of the VM")
        return str(self.submit(text.encode()))

    def create_handlers(self):
        return {{"": JSONRPC({{"write": self.write}}), "/plain": WSGI(self.plain)}}

    def plain(self, environ, start_response):
        status = "200 OK"
        try:
            self.write(environ["wsgi.input"].read().decode())
        except chain.Invalid:
            status = "400 Bad Request"
        except chain.MempoolFull:
            status = environ["QUERY_STRING"] + " Full"
        except RuntimeError:
            status = "500 Internal Server Error"
        start_response(status, [("Content-Length", "0")])
        return []
"""
HOOK = """\
texts = iter({texts!r})


def issue(client):
    body = {{"jsonrpc": "2.0", "id": 1, "method": "write", "params": [next(texts)]}}
    assert "result" in client.post("", json=body).json(){reason}
    if body["params"] != ["a"]:
        {bug}
"""
PLAIN_HOOK = """\
import itertools

numbers = itertools.count()


def issue(client):
    client.post("plain?{status}", content=str(next(numbers))).raise_for_status()
"""
REQUEST = '{"jsonrpc": "2.0", "id": 1, "method": "write", "params": ["{n}"]}'
CHECK = "blocks.reading-changes-no-build"
SKIPPED = "the mempool takes no more than 2 of the hook's transactions at once: "

pytestmark = pytest.mark.timeout(300)


def results_of(
    folder: Path, *arguments: str, only: tuple[str, ...] = (CHECK,), room: int = 2, sound: int = 1_000_000
) -> list[dict[str, Any]]:
    """The results of `vmsdk check`. *sound* is how many requests the VM handles without a bug."""
    (folder / "small.py").write_text(VM.format(room=room, sound=sound))
    report = folder / "report.json"
    cli.main(["check", str(folder / "small.py"), *arguments, "--only", *only, "--json", str(report)])
    return list(json.loads(report.read_text())["results"])


def hook(folder: Path, *, texts: str = "abcdefgh", bug: str = "pass", reason: str = "") -> tuple[str, str]:
    file = folder / "hook.py"
    file.write_text(HOOK.format(texts=texts, bug=bug, reason=reason))
    return "--hook", str(file)


def test_a_check_that_needs_more_transactions_is_skipped(tmp_path: Path) -> None:
    (result,) = results_of(tmp_path, "--request", REQUEST)
    assert result["verdict"] == "skipped"
    assert result["why"].startswith(SKIPPED + "the chain refused POST / ")
    assert "2 transactions of 2 bytes are waiting" in result["why"]


@pytest.mark.parametrize(("reason", "shown"), [(', "no room"', "no room"), ("", "AssertionError")])
def test_a_hooks_assertion_says_that_the_mempool_is_full(tmp_path: Path, reason: str, shown: str) -> None:
    (result,) = results_of(tmp_path, *hook(tmp_path, reason=reason))
    assert (result["verdict"], result["why"]) == ("skipped", SKIPPED + shown)


@pytest.mark.parametrize(
    ("status", "room", "sound", "expected"),
    [
        (429, 2, 9, ("skipped", "Client error '429 Too Many Requests'")),
        (503, 2, 9, ("skipped", "Server error '503 Service Unavailable'")),
        (429, 9, 1, ("hook failed", "Server error '500 ")),
    ],
)
def test_an_http_status_says_that_the_mempool_is_full(
    tmp_path: Path, status: int, room: int, sound: int, expected: tuple[str, str]
) -> None:
    file = tmp_path / "hook.py"
    file.write_text(PLAIN_HOOK.format(status=status))
    (result,) = results_of(tmp_path, "--hook", str(file), room=room, sound=sound)
    assert result["verdict"] == expected[0]
    assert expected[1] in result["why"]
    assert result["why"].startswith(SKIPPED) == (expected[0] == "skipped")


@pytest.mark.parametrize("path", ["/plain?503", "/plain?429"])
def test_a_request_that_finds_no_room_is_a_refusal(tmp_path: Path, path: str) -> None:
    (result,) = results_of(tmp_path, "--request", path + " {n}")
    assert result["verdict"] == "skipped"
    assert result["why"].startswith(SKIPPED)


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ({"bug": '{}["a bug of the hook"]'}, "KeyError: 'a bug of the hook'"),
        ({"bug": 'int("a bug of the hook")'}, "ValueError: invalid literal"),
        ({"texts": "a"}, "StopIteration"),
    ],
)
def test_a_bug_of_the_hook_stays_one(tmp_path: Path, what: dict[str, str], error: str) -> None:
    (result,) = results_of(tmp_path, *hook(tmp_path, **what))
    assert result["verdict"] == "hook failed"
    assert error in result["why"]


def test_an_internal_error_of_the_vm_is_not_a_full_mempool(tmp_path: Path) -> None:
    (result,) = results_of(tmp_path, "--request", REQUEST, sound=1)
    assert result["verdict"] == "hook failed"
    assert "-32603" in result["why"]


def test_what_an_earlier_check_has_left_in_the_mempool_skips_no_check(tmp_path: Path) -> None:
    pair = ("blocks.wrong-times-are-invalid", "blocks.verification-ignores-the-preference")
    results = results_of(tmp_path, "--request", REQUEST, "--jobs", "1", only=pair, room=3)
    assert [result["verdict"] for result in results] == ["passed", "passed"]
