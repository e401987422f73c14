"""Metrics over the wire: whatever an author registers, the node can merge what it gets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary

from vmsdk._pb.io.prometheus.client import metrics_pb2 as pb
from vmsdk.host.metrics import chain_families
from vmsdk.ids import ID

from .conftest import Serve, Served
from .plainvm import PlainVM


@dataclass
class Sample:
    name: str
    value: float = 1.0
    labels: dict[str, str] = field(default_factory=dict)


@dataclass
class Family:
    name: str
    samples: Iterable[Any]
    type: str = "gauge"
    documentation: str = "help"


@dataclass
class Collector:
    families: Iterable[Family]

    def collect(self) -> Iterable[Family]:
        yield from self.families


def gather(served: Served) -> dict[str, pb.MetricFamily]:
    families = served.client.Gather(Empty()).metric_families
    # The node merges them with all others, and refuses the lot for one fault.
    chain_families(families, vm_id=ID(b"\x01" * 32), chain_alias="mine")
    return {family.name: family for family in families}


def served_with(serve: Serve, collector: Any) -> Served:
    vm = PlainVM()
    served = serve(vm)
    vm.ctx.metrics.register(collector)
    return served


def test_edge_62_before_initialize_the_page_is_empty(serve: Serve) -> None:
    assert gather(serve(PlainVM(), run=False)) == {}


def test_the_process_is_on_the_page(serve: Serve) -> None:
    families = gather(serve(PlainVM()))
    assert families["process_process_cpu_seconds_total"].type == pb.COUNTER
    assert families["process_process_resident_memory_bytes"].metric[0].gauge.value > 1_000_000


def test_a_registry_of_prometheus_client_is_told_whole(serve: Serve) -> None:
    registry = CollectorRegistry()
    Counter("blocks", "Blocks", ["kind"], registry=registry).labels("good").inc(3)
    Gauge("mempool_size", "Size", registry=registry).set(7)
    histogram = Histogram("seconds", "Time", buckets=(0.1, 1.0), registry=registry)
    for value in (0.05, 0.5, 5.0):
        histogram.observe(value)
    Summary("bytes", "Sizes", registry=registry).observe(10)
    Info("build", "Build", registry=registry).info({"version": "1"})
    Enum("phase", "Phase", states=["a", "b"], registry=registry).state("b")
    families = gather(served_with(serve, registry))

    counter = families["vm_blocks_total"]
    assert (counter.type, counter.help, counter.metric[0].counter.value) == (pb.COUNTER, "Blocks", 3)
    assert [(pair.name, pair.value) for pair in counter.metric[0].label] == [("kind", "good")]
    assert families["vm_mempool_size"].metric[0].gauge.value == 7
    seconds = families["vm_seconds"].metric[0].histogram
    assert (seconds.sample_count, seconds.sample_sum) == (3, 5.55)
    assert [(bucket.upper_bound, bucket.cumulative_count) for bucket in seconds.bucket] == [
        (0.1, 1),
        (1.0, 2),
        (float("inf"), 3),
    ]
    summary = families["vm_bytes"].metric[0].summary
    assert (summary.sample_count, summary.sample_sum) == (1, 10)
    assert families["vm_build_info"].metric[0].gauge.value == 1
    assert len(families["vm_phase"].metric) == 2


@pytest.mark.parametrize(
    "family",
    [
        Family("bad name", [Sample("bad name")]),
        Family("9lives", [Sample("9lives")], type="made-up"),
        Family("twice", [Sample("twice"), Sample("twice", 2.0)]),
        Family("chained", [Sample("chained", labels={"chain": "C"})]),
        Family("labelled", [Sample("labelled", labels={"bad-label": "x"})]),
        Family("reserved", [Sample("reserved", labels={"__name__": "x"})]),
        Family("surrogate", [Sample("surrogate", labels={"label": "\udcff"})]),
        Family("text", [Sample("text", value="many")]),  # type: ignore[arg-type]
        Family("buckets", [Sample("buckets_bucket")], type="histogram"),
    ],
    ids=lambda family: family.name,
)
def test_a_family_that_the_node_would_refuse_is_left_out_and_logged_once(
    serve: Serve, family: Family, caplog: pytest.LogCaptureFixture
) -> None:
    served = served_with(serve, Collector([Family("good", [Sample("good")]), family]))
    caplog.clear()
    for _ in range(2):
        families = gather(served)
    assert "vm_good" in families
    assert "vm_" + family.name not in families
    assert len(caplog.records) == 1


@pytest.mark.parametrize("lines", ["summary", "histogram"])
@pytest.mark.parametrize("first", [True, False])
def test_a_family_with_the_name_of_anothers_line_is_left_out(serve: Serve, lines: str, first: bool) -> None:
    # On the node both would have a line `size_count`, and the whole page would fail.
    families = [
        Family("size", [Sample("size_count"), Sample("size_sum")], type=lines),
        Family("size_count", [Sample("size_count")]),
    ]
    if first:
        families.reverse()
    expected = "vm_" + families[0].name
    assert [name for name in gather(served_with(serve, Collector(families))) if "size" in name] == [expected]


def test_families_that_are_ever_new_fill_neither_the_log_nor_the_memory(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    served = served_with(serve, Collector([Family(f"bad {n}", [Sample("x")]) for n in range(3_000)]))
    caplog.clear()
    gather(served)
    assert len(caplog.records) == 1_000


def test_a_complaint_names_the_family_whatever_is_wrong(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    served = served_with(serve, Collector([Family("labelled", [Sample("labelled", labels={"a": 7})])]))  # type: ignore[dict-item]
    caplog.clear()
    gather(served)
    assert caplog.records[0].getMessage().startswith("metric 'labelled' is left out: ")


def test_two_families_of_one_name_are_told_as_the_first(serve: Serve) -> None:
    collector = Collector([Family("same", [Sample("same", 1.0)]), Family("same", [Sample("same", 2.0)])])
    assert gather(served_with(serve, collector))["vm_same"].metric[0].gauge.value == 1.0


def test_a_collector_that_fails_spoils_nothing_else(serve: Serve) -> None:
    def broken() -> Iterable[Family]:
        yield Family("before", [Sample("before")])
        raise RuntimeError("lost it")

    vm = PlainVM()
    served = serve(vm)
    vm.ctx.metrics.register(Collector(broken()))
    vm.ctx.metrics.register(Collector([Family("other", [Sample("other")])]))
    families = gather(served)
    assert {"vm_before", "vm_other", "vmsdk_faults_total"} <= set(families)
