"""The metrics of a chain's database."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from time import perf_counter
from typing import NamedTuple

from vmsdk.metrics import Counts, Durations, Family, Histogram


class RecordedCall(NamedTuple):
    """A database call, for a trace. Times are `perf_counter`'s."""

    path: str
    began_s: float
    ended_s: float


RECORDED_CALLS: ContextVar[list[RecordedCall] | None] = ContextVar("RECORDED_CALLS", default=None)
"""Where to record database calls; None while they aren't traced."""
MAX_RECORDED = 1_000
"""How many calls are recorded for one engine call or HTTP request. Each becomes a span."""


class DatabaseMetrics:
    """Calls, errors and bytes of one database."""

    def __init__(self) -> None:
        self._calls = Durations("database_duration_seconds", "Time of the database's calls", "operation")
        self._errors = Counts("database_errors_total", "Calls of the database that failed", "operation")
        self._bytes = Counts(
            "database_bytes_total", "Bytes of values read, and of pairs written", "direction"
        )
        self._observers: dict[str, Histogram] = {}

    def ended(self, path: str, began_s: float) -> None:
        """A call of the method *path* has returned."""
        observer = self._observers.get(path)
        if observer is None:
            observer = self._observers[path] = self._calls.of(path.rpartition("/")[2])
        ended_s = perf_counter()
        observer.observe(ended_s - began_s)
        recorded = RECORDED_CALLS.get()
        if recorded is not None and len(recorded) < MAX_RECORDED:
            recorded.append(RecordedCall(path, began_s, ended_s))

    def failed(self, path: str) -> None:
        """A call of the method *path* has failed."""
        self._errors.add(path.rpartition("/")[2])

    def read(self, size: int) -> None:
        """Values of *size* bytes were read."""
        self._bytes.add("read", amount=size)

    def wrote(self, size: int) -> None:
        """Pairs of *size* bytes were written."""
        self._bytes.add("written", amount=size)

    def collect(self) -> Iterator[Family]:
        for each in (self._calls, self._errors, self._bytes):
            yield from each.collect()
