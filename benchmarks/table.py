"""Results of benchmarks: our figures beside a floor, as rows of one table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import NamedTuple

ROUNDS = 15


class Row(NamedTuple):
    """One comparison."""

    name: str
    ours: float
    floor: float
    unit: str
    """Of `ours` and `floor`: `/s`, `ms`, `calls`."""
    ratio: float
    """Ours over the floor: the median over rounds in which both were measured one after the other.
    """
    goal: str = ""
    """What the project wants the ratio (or, without a floor, the figure) to be."""


def compare(
    name: str,
    unit: str,
    ours: Callable[[], float],
    floor: Callable[[], float],
    *,
    goal: str = "",
    rounds: int = ROUNDS,
) -> Row:
    """Measure both in turns. Whoever goes second finds everything warm, so they change places."""
    pairs = []
    for number in range(rounds):
        if number % 2:
            mine = ours()
            pairs.append((mine, floor()))
        else:
            other = floor()
            pairs.append((ours(), other))
    return Row(
        name,
        statistics.median(mine for mine, _ in pairs),
        statistics.median(other for _, other in pairs),
        unit,
        statistics.median(mine / other for mine, other in pairs),
        goal,
    )


def per_second(work: Callable[[], object], count: int) -> float:
    """How many operations a second *work* does, if one call does *count*."""
    begun = perf_counter()
    work()
    return count / (perf_counter() - begun)


def markdown(rows: Iterable[Row]) -> str:
    """The rows as a table that a terminal and a README both show well."""
    lines = [("measured", "vmsdk", "floor", "ratio", "goal")]
    for row in rows:
        lines.append(
            (
                row.name,
                f"{row.ours:,.{_digits(row.ours)}f} {row.unit}",
                f"{row.floor:,.{_digits(row.floor)}f} {row.unit}" if row.floor else "",
                f"{row.ratio:.2f}" if row.floor else "",
                row.goal,
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def _digits(value: float) -> int:
    return 0 if value >= 100 or value == int(value) else 2
