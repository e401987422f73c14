"""Resources: how long the requests of a check may take in all."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from vmsdk.testing.areas import resources


def test_upgrades_without_a_response_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_HTTP_TIMEOUT_S", 0.02)
    monkeypatch.setattr(resources, "_HTTP_PROMPT_S", 0.0)
    monkeypatch.setattr(resources, "_HTTP_S", 0.1)
    handler: Any = SimpleNamespace(path="/ext/bc/chain")
    requests = resources._Requests(handler)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        for _ in range(20):
            requests.upgrade(f"http://127.0.0.1:{silent.getsockname()[1]}/ext/bc/chain")
    assert 1 <= requests.count <= 5


def test_prompt_responses_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_HTTP_PROMPT_S", 60.0)
    monkeypatch.setattr(resources, "_HTTP_S", 1e-9)
    handler: Any = SimpleNamespace(start=lambda **options: SimpleNamespace(exception=lambda: None))
    requests = resources._Requests(handler)
    for _ in range(20):
        requests.send()
    assert requests.count == 20
