"""HTTP gives way to the engine's calls, but not for long."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from vmsdk.protocol import NEWEST, protocol
from vmsdk.rpc import priority
from vmsdk.rpc.http import HTTPServers
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


@pytest.fixture
def usual() -> Iterator[float]:
    """The switch interval of this process, which is the same after the test."""
    interval_s = sys.getswitchinterval()
    yield interval_s
    sys.setswitchinterval(interval_s)


def load(engine: EnginePriority) -> None:
    for _ in range(priority.LOAD_PIECES + 1):
        engine.give_way()


def test_threads_change_faster_while_one_piece_of_http_follows_another(
    usual: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(priority, "LOAD_GAP_S", DEADLINE_S)
    engine = EnginePriority()
    engine._last_piece_s = time.monotonic()
    load(engine)
    assert sys.getswitchinterval() == pytest.approx(priority.SWITCH_INTERVAL_S)
    engine.calm_down()
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_the_first_engine_call_after_a_load_changes_them_as_usual(usual: float) -> None:
    engine = EnginePriority()
    load(engine)
    # Longer ago than the gap, whatever the machine does.
    engine._last_piece_s -= DEADLINE_S
    with engine:
        assert sys.getswitchinterval() == pytest.approx(usual)


def test_pieces_far_from_each_other_are_no_load(usual: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priority, "LOAD_GAP_S", -1.0)
    load(EnginePriority())
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_the_end_of_the_servers_restores_the_interval(usual: float, monkeypatch: pytest.MonkeyPatch) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    monkeypatch.setattr(priority, "LOAD_GAP_S", DEADLINE_S)
    engine = EnginePriority()
    servers = HTTPServers(protocol(NEWEST), logging.getLogger("chain"), engine)
    servers.serve(app, prefix="")
    engine._last_piece_s = time.monotonic()
    load(engine)
    assert sys.getswitchinterval() == pytest.approx(priority.SWITCH_INTERVAL_S)
    servers.close()
    assert sys.getswitchinterval() == pytest.approx(usual)
