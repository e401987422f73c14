"""Whose turn it is, and when a thread loses it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from vmsdk.rpc.http import turn as turns
from vmsdk.rpc.http.turn import Turn

DEADLINE_S = 10.0


class Runner:
    """A thread that takes turns, without the thread."""

    def __init__(self, cpu_s: float | None = None, when_looked_at: Callable[[], None] = lambda: None) -> None:
        self.gate = threading.Lock()
        self.gate.acquire()
        self.used_s = cpu_s
        self.losses = 0
        self.looks = 0
        self._when_looked_at = when_looked_at

    def cpu_s(self) -> float | None:
        self.looks += 1
        self._when_looked_at()
        if self.used_s is not None:
            self.used_s += 1.0
        return self.used_s

    def lost_turn(self) -> None:
        self.losses += 1

    @property
    def goes(self) -> bool:
        return not self.gate.locked()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "STUCK_S", 0.000_1)
    monkeypatch.setattr(turns, "LONG_S", 0.001)


@pytest.fixture
def turn() -> Turn:
    """One that nothing watches but the test."""
    turn = Turn()
    turn.watch = lambda: None  # type: ignore[method-assign]
    return turn


def test_the_turn_goes_on_in_the_order_of_asking(turn: Turn) -> None:
    runners = [Runner() for _ in range(4)]
    for runner in runners:
        turn.ask(runner)
    for number, runner in enumerate(runners):
        assert [each.goes for each in runners] == [True] * (number + 1) + [False] * (3 - number)
        assert turn.is_held_by(runner)
        turn.pass_on()


@pytest.mark.parametrize("cpu_s", [None, 0.0], ids=["nobody tells", "it computes"])
def test_who_is_at_one_piece_for_too_long_loses_the_turn_to_the_next(turn: Turn, cpu_s: float | None) -> None:
    stuck, next_one = Runner(cpu_s), Runner()
    turn.ask(stuck)
    turn.ask(next_one)
    turn._watch_piece()
    assert (stuck.losses, next_one.goes) == (1, True)


def test_who_has_begun_another_piece_keeps_the_turn(turn: Turn) -> None:
    runner = Runner(when_looked_at=turn.begin_piece)
    turn.ask(runner)
    turn._watch_piece()
    assert (runner.losses, turn.is_held_by(runner)) == (0, True)


def test_who_has_laid_the_turn_down_cannot_lose_it(turn: Turn) -> None:
    runner = Runner(when_looked_at=turn.pass_on)
    turn.ask(runner)
    turn._watch_piece()
    # Nor is the clock of a thread looked at that may have ended.
    assert (runner.losses, runner.looks) == (0, 1)


def test_everyone_in_line_is_watched_for_not_only_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = Turn()
    runners = [Runner() for _ in range(4)]
    with turn.lock:
        for runner in runners:
            turn.ask(runner)
    for runner in runners:
        assert runner.gate.acquire(timeout=DEADLINE_S)
    turn.close()


def test_work_without_the_turn_is_work_too() -> None:
    events: list[str] = []
    turn = Turn(on_begin=lambda: events.append("begin"), on_end=lambda: events.append("end"))
    turn.watch = lambda: None  # type: ignore[method-assign]
    first, second = Runner(), Runner()
    turn.ask(first)
    turn.ask(second)
    assert events == ["begin"]
    turn.go_without(second)
    assert events == ["begin", "begin"]
    turn.pass_on()
    turn.end_without()
    assert events == ["begin", "begin", "end", "end"]
    assert not second.goes


def test_a_system_without_a_thread_to_spare_has_the_turn_watched_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    turn = Turn()
    stuck, second, third = Runner(), Runner(), Runner()
    with monkeypatch.context() as exhausted:
        exhausted.setattr(threading.Thread, "start", no_more)
        with turn.lock:
            turn.ask(stuck)
            turn.ask(second)
    with turn.lock:
        turn.ask(third)
    assert second.gate.acquire(timeout=DEADLINE_S)
    turn.close()
