from __future__ import annotations

import pytest

from vmsdk.services.validators import Recent


class Oracle:
    """Doubles numbers, and remembers which it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, number: int) -> int:
        self.asked.append(number)
        return 2 * number


def test_an_answer_is_asked_for_once() -> None:
    recent: Recent[int, int] = Recent(2)
    oracle = Oracle()
    assert [recent.get(1, oracle), recent.get(1, oracle)] == [2, 2]
    assert oracle.asked == [1]


def test_the_answer_asked_for_longest_ago_is_forgotten_first() -> None:
    recent: Recent[int, int] = Recent(2)
    oracle = Oracle()
    for number in (1, 2, 1, 3):  # 3 displaces 2, since 1 was asked for after it
        recent.get(number, oracle)
    oracle.asked.clear()
    for number in (1, 3, 2):
        assert recent.get(number, oracle) == 2 * number
    assert oracle.asked == [2]


def test_a_failure_is_not_remembered() -> None:
    recent: Recent[int, int] = Recent(2)

    def fail(number: int) -> int:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        recent.get(1, fail)
    assert recent.get(1, Oracle()) == 2
