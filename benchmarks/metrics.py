"""What metrics cost: block cycles with them, beside a plugin whose instruments do nothing."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks import contenders
from benchmarks.engine import Contender
from benchmarks.table import Row, compare, markdown

_WITHOUT = (
    "import vmsdk.metrics as metrics; nothing = lambda *values, **named: None; "
    "metrics.Histogram.observe = nothing; metrics.Counts.add = nothing; "
)


def run() -> list[Row]:
    """Measure both side by side."""
    with ExitStack() as stack:
        ours = Contender(contenders.example(), stack)
        floor = Contender(contenders.example(_WITHOUT), stack)
        for contender in (ours, floor):
            contender.cycles_per_second()
        return [
            compare(
                "whole block cycles with metrics vs. none",
                "/s",
                ours.cycles_per_second,
                floor.cycles_per_second,
                goal="at least 0.97",
            )
        ]


if __name__ == "__main__":
    print(markdown(run()))
