"""HTTP gives way to the engine's calls, but not for long."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import pytest

from vmsdk.rpc import priority
from vmsdk.rpc.priority import EnginePriority

DEADLINE_S = 10.0


def test_without_an_engine_call_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priority, "LONGEST_WAIT_S", DEADLINE_S)
    before = time.monotonic()
    EnginePriority().give_way()
    assert time.monotonic() - before < DEADLINE_S / 2


def test_http_waits_until_the_last_engine_call_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priority, "LONGEST_WAIT_S", DEADLINE_S)
    engine = EnginePriority()
    events: list[str] = []
    asking = threading.Event()

    def http() -> None:
        asking.set()
        engine.give_way()
        events.append("http")

    with engine:
        with engine:
            thread = threading.Thread(target=http)
            thread.start()
            assert asking.wait(DEADLINE_S)
        events.append("engine")
    thread.join(DEADLINE_S)
    assert events == ["engine", "http"]


def test_an_engine_call_that_takes_long_does_not_stop_http() -> None:
    engine = EnginePriority()
    with engine:
        for _ in range(10):
            engine.give_way()  # Returns each time, by and by.


def test_an_engine_call_that_fails_has_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priority, "LONGEST_WAIT_S", DEADLINE_S)
    engine = EnginePriority()
    with pytest.raises(ZeroDivisionError), engine:
        raise ZeroDivisionError
    before = time.monotonic()
    engine.give_way()
    assert time.monotonic() - before < DEADLINE_S / 2


def test_threads_change_faster_only_while_there_is_http() -> None:
    usual = sys.getswitchinterval()
    engine = EnginePriority()
    for _ in range(2):
        engine.http_begins()
    assert sys.getswitchinterval() == pytest.approx(priority.SWITCH_INTERVAL_S)
    for _ in range(2):
        engine.http_ends()
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_a_server_changes_the_interval_and_its_end_restores_it() -> None:
    import logging

    from vmsdk.protocol import NEWEST, protocol
    from vmsdk.rpc.http import HTTPServers

    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    usual = sys.getswitchinterval()
    servers = HTTPServers(protocol(NEWEST), logging.getLogger("chain"))
    assert sys.getswitchinterval() == pytest.approx(usual)
    servers.serve(app, prefix="")
    assert sys.getswitchinterval() == pytest.approx(priority.SWITCH_INTERVAL_S)
    servers.close()
    assert sys.getswitchinterval() == pytest.approx(usual)
