"""The interface of an author's metrics.

The shapes are those of `prometheus_client` (extra `metrics`): a `CollectorRegistry`, or any one of
its collectors, can be registered as it is. vmsdk itself doesn't need that library.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

BOUNDS_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)
"""The buckets of `Durations`: a call takes at least 0.1 ms."""


class MetricSample(Protocol):
    """One number: `prometheus_client.samples.Sample`."""

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def value(self) -> float: ...


class MetricFamily(Protocol):
    """The samples of one metric: `prometheus_client.Metric`."""

    @property
    def name(self) -> str: ...
    @property
    def documentation(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def samples(self) -> Iterable[Any]: ...


class Collector(Protocol):
    """Returns metric families at each scrape: a `CollectorRegistry` or a collector."""

    def collect(self) -> Iterable[Any]: ...


class Metrics(ABC):
    """Where an author registers metrics, which the node shows as `<platform>_<vm id>_vm_<name>`."""

    @abstractmethod
    def register(self, collector: Collector) -> None:
        """Ask *collector* for its families at each scrape, in a separate thread.

        A family that the node would refuse (a bad name, a repeated label, …) is omitted, and logged
        once, since it would make the node's whole metrics page fail. Registering an object
        again has no effect. Raises `TypeError` for one without a method `collect`.
        """

    def register_own(self, collector: Collector) -> None:
        """Register a part of vmsdk, whose families get the prefix `vmsdk_` instead of `vm_`.

        *collector* is called in the scrape itself, so it must not block.
        """


# vmsdk's own --------------------------------------------------------------------------------------


class Sample(NamedTuple):
    """One number."""

    name: str
    labels: Mapping[str, str]
    value: float


class Family(NamedTuple):
    """The samples of one of vmsdk's own metrics."""

    name: str
    documentation: str
    type: str
    samples: list[Sample]


def family(kind: str, name: str, documentation: str, value: float) -> Family:
    """A family with one number. *kind* is `counter` or `gauge`."""
    return Family(name, documentation, kind, [Sample(name, {}, value)])


class Counts:
    """A counter for each combination of *labels*. Thread-safe."""

    def __init__(self, name: str, documentation: str, *labels: str) -> None:
        self._family = Family(name, documentation, "counter", [])
        self._labels = labels
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, ...], float] = {}

    def add(self, *values: str, amount: float = 1) -> None:
        """Count *amount* for these values of the labels."""
        with self._lock:
            self._counts[values] = self._counts.get(values, 0) + amount

    def collect(self) -> Iterator[Family]:
        name = self._family.name
        yield self._family._replace(
            samples=[
                Sample(name, dict(zip(self._labels, values, strict=True)), count)
                for values, count in sorted(self._counts.copy().items())
            ]
        )


class Histogram:
    """How many durations are in which of the buckets of `BOUNDS_S`. Thread-safe."""

    __slots__ = ("_lock", "counts", "sum_s")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Add a duration."""
        bucket = bisect_left(BOUNDS_S, seconds)
        with self._lock:
            self.counts[bucket] += 1
            self.sum_s += seconds

    def samples(self, name: str, labels: Mapping[str, str]) -> Iterator[Sample]:
        """The lines of this histogram."""
        with self._lock:
            counts, sum_s = self.counts.copy(), self.sum_s
        total = 0
        for bound, count in zip((*BOUNDS_S, float("inf")), counts, strict=True):
            total += count
            yield Sample(f"{name}_bucket", {**labels, "le": str(bound)}, total)
        yield Sample(f"{name}_count", labels, total)
        yield Sample(f"{name}_sum", labels, sum_s)


class Durations:
    """A histogram of seconds for each value of *label*."""

    def __init__(self, name: str, documentation: str, label: str) -> None:
        self._family = Family(name, documentation, "histogram", [])
        self._label = label
        self._histograms: dict[str, Histogram] = {}

    def of(self, value: str) -> Histogram:
        """The histogram for this value of the label, always the same one."""
        found = self._histograms.get(value)
        return self._histograms.setdefault(value, Histogram()) if found is None else found

    def collect(self) -> Iterator[Family]:
        name = self._family.name
        samples: list[Sample] = []
        for value, histogram in sorted(self._histograms.copy().items()):
            if any(histogram.counts):
                samples += histogram.samples(name, {self._label: value})
        yield self._family._replace(samples=samples)
