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


def test_http_waits_for_a_call_that_has_arrived_and_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priority, "LONGEST_WAIT_S", DEADLINE_S)
    monkeypatch.setattr(priority, "ANNOUNCED_S", DEADLINE_S)
    engine = EnginePriority()
    events: list[str] = []
    asking = threading.Event()

    def http() -> None:
        asking.set()
        engine.give_way()
        events.append("http")

    engine.announce()
    thread = threading.Thread(target=http)
    thread.start()
    assert asking.wait(DEADLINE_S)
    with engine:
        events.append("engine")
    thread.join(DEADLINE_S)
    assert events == ["engine", "http"]
    before = time.monotonic()
    engine.give_way()
    assert time.monotonic() - before < DEADLINE_S / 2


def test_a_call_that_has_arrived_and_never_begins_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priority, "LONGEST_WAIT_S", DEADLINE_S)
    clock = Clock()
    engine = EnginePriority(clock)
    engine.announce()
    clock.now_s += 2 * priority.ANNOUNCED_S
    before = time.monotonic()
    engine.give_way()
    assert time.monotonic() - before < DEADLINE_S / 2


def test_http_does_not_give_way_to_a_call_that_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priority, "LONGEST_WAIT_S", DEADLINE_S)
    engine = EnginePriority()
    waits: list[str] = []
    monkeypatch.setattr(engine, "_wait", lambda: waits.append("gave way"))
    with engine:
        with engine.lent():
            engine.give_way()
            engine.give_way_between_steps()
        assert waits == []
        engine.give_way()
    assert waits == ["gave way"]


def test_an_event_loop_gives_way_between_steps_but_not_before_each(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    engine = EnginePriority(clock)
    waits: list[float] = []
    monkeypatch.setattr(engine, "_wait", lambda: waits.append(clock.now_s))
    begun_s = clock.now_s
    engine.give_way_between_steps()
    with engine:
        for _ in range(100):
            engine.give_way_between_steps()
            clock.now_s += priority.STEPS_S / 10
    assert waits[0] == begun_s
    assert len(waits) == pytest.approx(100 / 10, abs=1)


def test_an_event_loop_under_load_takes_breaks(usual: float, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks: list[float] = []
    monkeypatch.setattr("vmsdk.rpc.priority.time.sleep", breaks.append)
    clock = Clock()
    engine = EnginePriority(clock)

    def steps(span_s: float) -> None:
        for _ in range(100):
            clock.now_s += span_s / 100
            engine.give_way_between_steps()

    steps(10 * priority.BREAK_EVERY_S)
    assert breaks == []
    serve_pieces(engine, clock, 5_000)
    steps(10 * priority.BREAK_EVERY_S)
    assert set(breaks) == {priority.BREAK_S}
    assert len(breaks) == pytest.approx(10, abs=1)
    engine.calm_down()


@pytest.fixture
def usual() -> Iterator[float]:
    """The switch interval of this process, which is the same after the test."""
    interval_s = sys.getswitchinterval()
    yield interval_s
    sys.setswitchinterval(interval_s)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def serve_pieces(engine: EnginePriority, clock: Clock, per_second: float) -> None:
    """Two counts' worth of HTTP, evenly."""
    for _ in range(2 * priority.LOAD_PIECES):
        clock.now_s += 1 / per_second
        engine.give_way()


def is_fast() -> bool:
    return sys.getswitchinterval() == pytest.approx(priority.SWITCH_INTERVAL_S)


def test_threads_change_faster_under_load_only(usual: float) -> None:
    clock = Clock()
    engine = EnginePriority(clock)
    for per_second, fast in ((300, False), (2_000, True), (300, False)):
        serve_pieces(engine, clock, per_second)
        assert is_fast() is fast
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_a_pause_within_a_load_does_not_end_it(usual: float) -> None:
    clock = Clock()
    engine = EnginePriority(clock)
    serve_pieces(engine, clock, 5_000)
    clock.now_s += 3 * priority.LONGEST_WAIT_S
    with engine:
        assert is_fast()
    serve_pieces(engine, clock, 5_000)
    assert is_fast()
    engine.calm_down()
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_the_first_engine_call_after_a_load_changes_them_as_usual(usual: float) -> None:
    clock = Clock()
    engine = EnginePriority(clock)
    serve_pieces(engine, clock, 5_000)
    clock.now_s += 2 * priority.CALM_S
    with engine:
        assert sys.getswitchinterval() == pytest.approx(usual)


def test_threads_change_faster_while_one_of_http_works(usual: float) -> None:
    engine = EnginePriority()
    engine.begin_work()
    engine.begin_work()
    engine.end_work()
    assert is_fast()
    with engine:
        assert is_fast()
    engine.end_work()
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_the_end_of_the_servers_restores_the_interval(usual: float) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    clock = Clock()
    engine = EnginePriority(clock)
    servers = HTTPServers(protocol(NEWEST), logging.getLogger("chain"), engine)
    servers.serve(app, prefix="")
    serve_pieces(engine, clock, 5_000)
    assert is_fast()
    servers.close()
    assert sys.getswitchinterval() == pytest.approx(usual)
