"""Defects in metrics."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from tests.conformance.goodvm import Block, GoodVM
from vmsdk._pb.io.prometheus.client import metrics_pb2
from vmsdk._pb.vm import vm_pb2 as pb


def counter(name: str, value: float, **labels: str) -> metrics_pb2.MetricFamily:
    metric = metrics_pb2.Metric(counter=metrics_pb2.Counter(value=value))
    for label, text in labels.items():
        metric.label.add(name=label, value=text)
    return metrics_pb2.MetricFamily(name=name, help="", type=metrics_pb2.COUNTER, metric=[metric])


class Measured(GoodVM):
    """Returns what `families` returns."""

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.numbers = itertools.count()

    def families(self) -> list[metrics_pb2.MetricFamily]:
        return [counter("vm_calls", next(self.numbers))]

    def Gather(self, request: Empty) -> pb.GatherResponse:
        return pb.GatherResponse(metric_families=self.families())


class DottedName(Measured):
    """The name of a family has a dot."""

    found_by = "metrics.are-valid"

    def families(self) -> list[metrics_pb2.MetricFamily]:
        return [counter("vm.calls", 1)]


class SameSeries(Measured):
    """Two metrics have the same name and labels."""

    found_by = "metrics.are-valid"

    def families(self) -> list[metrics_pb2.MetricFamily]:
        return [counter("vm_calls", 1, method="get"), counter("vm_calls", 2, method="get")]


class GaugeWithoutValue(Measured):
    """A gauge has its value in the field of a counter."""

    found_by = "metrics.are-valid"

    def families(self) -> list[metrics_pb2.MetricFamily]:
        family = counter("vm_height", 1)
        family.type = metrics_pb2.GAUGE
        return [family]


class GatheredTwice(Measured):
    """It registers its metrics again whenever they are gathered."""

    found_by = "metrics.are-valid-again"

    def families(self) -> list[metrics_pb2.MetricFamily]:
        return [counter("vm_calls", 1)] * (next(self.numbers) + 1)


class FallingCounter(Measured):
    """A counter counts down."""

    found_by = "metrics.are-valid-again"

    def families(self) -> list[metrics_pb2.MetricFamily]:
        return [counter("vm_pending", 100 - next(self.numbers))]


class SeparateBuckets(Measured):
    """The buckets of a histogram count each sample once."""

    found_by = "metrics.histograms-add-up"

    def families(self) -> list[metrics_pb2.MetricFamily]:
        histogram = metrics_pb2.Histogram(sample_count=5, sample_sum=7)
        for bound, count in ((1, 3), (2, 2)):
            histogram.bucket.add(upper_bound=bound, cumulative_count=count)
        metric = metrics_pb2.Metric(histogram=histogram)
        return [metrics_pb2.MetricFamily(name="vm_seconds", type=metrics_pb2.HISTOGRAM, metric=[metric])]


class NoMetricsYet(GoodVM):
    """Gather fails before Initialize."""

    found_by = "metrics.are-gathered-before-initialize"
    at_protocol = 37

    def Gather(self, request: Empty) -> pb.GatherResponse:
        self.tip()
        return super().Gather(request)


class GatherTakesTheLastThread(GoodVM):
    """It has as few threads as calls that may wait for events."""

    found_by = "metrics.do-not-wait-for-events"
    workers = 16


class NotThreadSafe(GoodVM):
    """Only one call of Gather may run at a time."""

    found_by = "metrics.are-gathered-at-once"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.collecting = threading.Lock()

    def respond(self, name: str, request: Any, context: grpc.ServicerContext) -> Any:
        if name != "Gather":
            return super().respond(name, request, context)
        if not self.collecting.acquire(blocking=False):
            raise RuntimeError("dictionary changed size during iteration")
        try:
            threading.Event().wait(0.2)
            return self.Gather(request)
        finally:
            self.collecting.release()


class SeriesPerPeer(Measured):
    """It counts the messages of each peer."""

    found_by = "metrics.do-not-grow-with-peers"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.peers: set[str] = set()

    def AppGossip(self, request: pb.AppGossipMsg) -> Empty:
        self.peers.add(request.node_id.hex())
        return Empty()

    def families(self) -> list[metrics_pb2.MetricFamily]:
        return [counter("vm_messages", 1, peer=peer) for peer in self.peers]


class ReservedLabel(Measured):
    """A label has a name that Prometheus keeps for itself."""

    found_by = "metrics.are-valid"

    def families(self) -> list[metrics_pb2.MetricFamily]:
        return [counter("vm_calls", 1, __name__="calls")]


class ChainLabel(Measured):
    """A label has the name of the one that the node adds."""

    found_by = "metrics.are-valid"

    def families(self) -> list[metrics_pb2.MetricFamily]:
        return [counter("vm_calls", 1, chain="mine")]


class SeriesPerTransaction(Measured):
    """A counter is labelled with the ID of each transaction."""

    found_by = "metrics.do-not-grow-with-blocks"

    def families(self) -> list[metrics_pb2.MetricFamily]:
        return [counter("vm_paid", 1, tx=transaction.hex()) for transaction in self.paid]

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.paid: list[bytes] = []

    def accept(self, block: Block) -> None:
        super().accept(block)
        self.paid += block.transactions
