"""What an author's metrics look like to vmsdk.

The shapes are those of `prometheus_client` (extra `metrics`): a `CollectorRegistry`, or any one of
its collectors, can be registered as it is. vmsdk itself doesn't need that library.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Protocol


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
    """Gives metric families at each scrape: a `CollectorRegistry` or a collector."""

    def collect(self) -> Iterable[Any]: ...


class Metrics(ABC):
    """Where an author registers metrics. The node shows them as `<platform>_<vm id>_vm_<name>`."""

    @abstractmethod
    def register(self, collector: Collector) -> None:
        """Ask *collector* for its families at each scrape, from a thread of its own.

        A family that the node would refuse (a bad name, a label twice, …) is left out and logged
        once: one bad family would make the node's whole metrics page fail.
        """
