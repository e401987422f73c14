"""HTTP gives way to the engine's calls, but not for long."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from vmsdk.rpc import priority
from vmsdk.rpc.priority import EnginePriority

DEADLINE_S = 60.0


def does_not_wait(engine: EnginePriority, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float | None] = []
    monkeypatch.setattr(engine._changed, "wait", waits.append)
    engine.give_way()
    assert waits == []


def test_without_an_engine_call_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    does_not_wait(EnginePriority(), monkeypatch)


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


def test_an_engine_call_that_takes_long_does_not_stop_http(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = EnginePriority()
    waits: list[float | None] = []
    monkeypatch.setattr(engine._changed, "wait", waits.append)
    with engine:
        for _ in range(3):
            engine.give_way()
    assert waits == [priority.LONGEST_WAIT_S] * 3


def test_an_engine_call_that_fails_has_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = EnginePriority()
    with pytest.raises(ZeroDivisionError), engine:
        raise ZeroDivisionError
    does_not_wait(engine, monkeypatch)


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
    does_not_wait(engine, monkeypatch)


def test_a_call_that_has_arrived_and_never_begins_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    engine = EnginePriority(clock)
    engine.announce()
    clock.now_s += 2 * priority.ANNOUNCED_S
    does_not_wait(engine, monkeypatch)


def test_http_does_not_give_way_to_a_call_that_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priority, "LONGEST_WAIT_S", DEADLINE_S)
    engine = EnginePriority()
    waits: list[str] = []
    monkeypatch.setattr(engine._changed, "wait", lambda _: waits.append("gave way"))
    with engine:
        with engine.lent():
            engine.give_way()
        assert waits == []
        engine.give_way()
    assert waits == ["gave way"]


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


def test_waiting_threads_get_the_gil_sooner_while_http_works(usual: float) -> None:
    engine = EnginePriority()
    with engine.http:
        with engine.http, engine:
            pass
        assert sys.getswitchinterval() == pytest.approx(priority.SWITCH_INTERVAL_S)
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_a_piece_of_http_work_waits_for_the_engine_first_and_may_pause(
    usual: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = EnginePriority()
    waits: list[float] = []
    monkeypatch.setattr(engine._changed, "wait", lambda _: waits.append(sys.getswitchinterval()))
    with engine, engine.http:
        assert waits == pytest.approx([usual])
        assert sys.getswitchinterval() == pytest.approx(priority.SWITCH_INTERVAL_S)
        with engine.http.paused():
            assert sys.getswitchinterval() == pytest.approx(usual)
        assert waits == pytest.approx([usual] * 2)
        assert sys.getswitchinterval() == pytest.approx(priority.SWITCH_INTERVAL_S)
    assert sys.getswitchinterval() == pytest.approx(usual)
