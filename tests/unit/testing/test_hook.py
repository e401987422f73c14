"""Hooks: where transactions come from, and whose fault it is when they don't."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from vmsdk.testing.hook import Hook, HookFailed, Refused, client

URL = "http://127.0.0.1:1/ext/bc/chain"


def connected_to(respond: Callable[[httpx.Request], httpx.Response]) -> httpx.Client:
    return httpx.Client(base_url=URL, transport=httpx.MockTransport(respond))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "has no function issue"),
        ("issue = 1", "has no function issue"),
        ("1 / 0", "ZeroDivisionError"),
        ("def (", "SyntaxError"),
    ],
)
def test_a_file_without_a_hook_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "hook.py"
    file.write_text(text)
    with pytest.raises(HookFailed, match=message):
        Hook.from_file(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HookFailed, match="there is no hook file"):
        Hook.from_file(tmp_path / "none.py")


def test_each_chain_has_a_hook_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "hook.py"
    file.write_text("def issue(client, seen=[]):\n    seen.append(client)\n    return len(seen)\n")
    hook = Hook.from_file(file)
    with connected_to(lambda request: httpx.Response(200)) as connection:
        assert [hook.load()(connection), hook.load()(connection)] == [1, 1]


@pytest.mark.parametrize("text", ["", "/rpc", "rpc {}", "/rpc   "])
def test_a_request_without_path_and_body_is_refused(text: str) -> None:
    with pytest.raises(HookFailed, match="PATH JSON"):
        Hook.from_request(text)


def test_a_request_has_a_different_number_each_time() -> None:
    bodies: list[tuple[str, bytes]] = []

    def respond(request: httpx.Request) -> httpx.Response:
        bodies.append((request.url.path, request.content))
        return httpx.Response(200, json={"result": 1})

    issue = Hook.from_request('/rpc {"params": ["{n}"]}').load()
    with connected_to(respond) as connection:
        issue(connection)
        issue(connection)
    assert bodies == [
        ("/ext/bc/chain/rpc", b'{"params": ["1"]}'),
        ("/ext/bc/chain/rpc", b'{"params": ["2"]}'),
    ]


@pytest.mark.parametrize(
    "response", [httpx.Response(404, text="none"), httpx.Response(200, json={"error": {"message": "none"}})]
)
def test_a_request_that_the_chain_refuses_is_the_hooks_fault(response: httpx.Response) -> None:
    issue = Hook.from_request("{}").load()
    with connected_to(lambda request: response) as connection, pytest.raises(HookFailed, match="none"):
        issue(connection)


@pytest.mark.parametrize(
    ("response", "is_refusal"),
    [
        (httpx.Response(429, text="full"), True),
        (httpx.Response(200, json={"error": {"code": -32000, "message": "full"}}), True),
        (httpx.Response(200, json={"error": "full"}), True),
        (httpx.Response(500, text="a bug"), False),
        (httpx.Response(200, json={"error": {"code": -32603, "message": "a bug"}}), False),
    ],
)
def test_a_fault_of_the_server_is_not_a_refusal(response: httpx.Response, is_refusal: bool) -> None:
    issue = Hook.from_request("{}").load()
    with connected_to(lambda request: response) as connection, pytest.raises(HookFailed) as caught:
        issue(connection)
    assert isinstance(caught.value, Refused) is is_refusal


@pytest.mark.parametrize(("has_slash", "path"), [(False, "/ext/bc/chain"), (True, "/ext/bc/chain/")])
def test_the_bare_url_reaches_the_handler_that_exists(has_slash: bool, path: str) -> None:
    with client(URL, has_slash=has_slash) as connection:
        request = connection.build_request("GET", "")
        for change in connection.event_hooks["request"]:
            change(request)
    assert request.url.path == path
