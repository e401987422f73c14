"""The JSON-RPC of a node's own services, as `vmsdk dev` plays them."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from vmsdk.errors import VMError
from vmsdk.host.http.endpoint import EndpointRequest
from vmsdk.host.http.jsonrpc import MAX_DEPTH, service


def refuse(params: Any) -> Any:
    raise VMError("the chain is not running")


def reply_to(body: bytes) -> str:
    methods = {"echo": lambda params: params.get("value"), "refuse": refuse}
    return service("info", methods)(EndpointRequest("POST", "application/json", "", body)).body


def no_constant(name: str) -> Any:
    raise AssertionError(f"{name} is not JSON")


def error_of(body: bytes) -> tuple[int, Any]:
    found = json.loads(reply_to(body), parse_constant=no_constant)
    return found["error"]["code"], found["id"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[]",
        b'{"jsonrpc": "2.0", "id": NaN, "method": "info.echo"}',
        b'{"jsonrpc": "2.0", "id": 1e999, "method": "info.echo"}',
        b'{"jsonrpc": "2.0", "id": ' + b"9" * 100_000 + b', "method": "info.echo"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "info.echo", "params": {"value": "\\ud800"}}',
    ],
)
def test_what_is_not_json_is_a_parse_error_and_no_bug(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert error_of(body) == (-32700, None)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_expected_error_of_a_method_is_its_response(caplog: pytest.LogCaptureFixture) -> None:
    body = b'{"jsonrpc": "2.0", "id": 7, "method": "info.refuse"}'
    assert error_of(body) == (-32000, 7)
    assert "the chain is not running" in reply_to(body)
    assert not caplog.records


def test_what_nests_too_deeply_is_refused() -> None:
    nested = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    head = b'{"jsonrpc": "2.0", "id": 1, "method": "info.echo", "params": {"value": '
    assert json.loads(reply_to(head + nested[2:-2] + b"}}"))["result"]
    assert error_of(head + nested + b"}}") == (-32700, None)
