"""Metrics over the wire: whatever an author registers, the node can merge what it gets."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary

from vmsdk import chain
from vmsdk._pb.io.prometheus.client import metrics_pb2 as pb
from vmsdk._pb.vm import vm_pb2
from vmsdk.host.metrics import chain_families
from vmsdk.ids import ID
from vmsdk.rpc import metrics

from .conftest import PATIENCE_S, Serve, Served
from .plainvm import PlainVM

ROOT = Path(__file__).resolve().parents[3]


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


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape is given up only in a failing test, however busy the machine is."""
    monkeypatch.setattr(metrics, "COLLECT_S", PATIENCE_S)


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


def test_a_registry_of_prometheus_client_is_gathered_whole(serve: Serve) -> None:
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
        Family(
            "twice", [Sample("twice_bucket", labels={"le": each}) for each in ("1", "1.0")], type="histogram"
        ),
        Family(
            "twice", [Sample("twice", labels={"quantile": each}) for each in ("1", "1.0")], type="summary"
        ),
        Family("9lives", [Sample("9lives")], type="made-up"),
        Family("twice", [Sample("twice"), Sample("twice", 2.0)]),
        Family("chained", [Sample("chained", labels={"chain": "C"})]),
        Family("labelled", [Sample("labelled", labels={"bad-label": "x"})]),
        Family("reserved", [Sample("reserved", labels={"__name__": "x"})]),
        Family("surrogate", [Sample("surrogate", labels={"label": "\udcff"})]),
        Family("text", [Sample("text", value="many")]),  # type: ignore[arg-type]
        Family("buckets", [Sample("buckets_bucket")], type="histogram"),
        Family("endless", [Sample("endless_bucket", labels={"le": "1"})], type="histogram"),
        Family(
            "no_number",
            [Sample("no_number_bucket", labels={"le": each}) for each in ("nan", "+Inf")],
            type="histogram",
        ),
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
    assert caplog.records[0].getMessage() == (
        "metric 'labelled' is left out: the value of its label 'a' is 7, and not a string"
    )


@pytest.mark.parametrize("collector", [None, 5, Counter, Counter("a", "A", registry=None).inc])
def test_what_has_no_families_is_refused_when_it_is_registered(serve: Serve, collector: Any) -> None:
    with pytest.raises(TypeError, match="takes a CollectorRegistry of prometheus_client or an object with"):
        served_with(serve, collector)


def test_a_collector_that_is_registered_again_is_asked_once(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    Gauge("size", "Size", registry=registry).set(7)
    vm = PlainVM()
    served = serve(vm)
    vm.ctx.metrics.register(registry)
    vm.ctx.metrics.register(registry)
    caplog.clear()
    assert gather(served)["vm_size"].metric[0].gauge.value == 7
    assert caplog.records == []


def test_of_two_families_with_one_name_the_first_is_gathered(serve: Serve) -> None:
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


@pytest.mark.parametrize(("result", "kind"), [(None, "NoneType"), (7, "int")])
def test_a_collector_that_returns_no_families_is_named(
    serve: Serve, caplog: pytest.LogCaptureFixture, result: Any, kind: str
) -> None:
    class Mine:
        def collect(self) -> Any:
            return result

    gather(served_with(serve, Mine()))
    (record,) = caplog.records
    assert f"Mine: collect() returned a {kind}: return a list of families" in record.getMessage()


def test_a_collector_that_is_async_is_named(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    class Mine:
        async def collect(self) -> Any: ...

    gather(served_with(serve, Mine()))
    (record,) = caplog.records
    assert "Mine: collect() returned a coroutine: return a list of families" in record.getMessage()


def forever() -> Iterable[int]:
    return itertools.count()


ENDLESS: dict[str, Callable[[], Iterable[Family]]] = {
    "families": lambda: (Family(f"f{n}", [Sample("x")]) for n in forever()),
    "families without samples": lambda: (Family(f"f{n}", []) for n in forever()),
    "families that are refused": lambda: (Family("bad name", []) for _ in forever()),
    "samples": lambda: [Family("f", (Sample("x", labels={"n": str(n)}) for n in forever()))],
    "samples that don't count": lambda: [
        Family("f", (Sample("x_created") for _ in forever()), type="counter")
    ],
    "buckets": lambda: [
        Family("f", (Sample("f_bucket", labels={"le": str(n)}) for n in forever()), type="histogram")
    ],
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_collector_that_yields_without_end_is_named_once_and_spoils_nothing_else(
    serve: Serve, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lock = threading.Lock()

    class Endless:
        def collect(self) -> Iterable[Family]:
            with lock:  # as one may, to read a consistent state
                yield Family("before", [Sample("before")])
                yield from ENDLESS[kind]()

    monkeypatch.setattr(metrics, "MAX_SAMPLES", 1_000)
    vm = PlainVM()
    served = serve(vm)
    vm.ctx.metrics.register(Endless())
    vm.ctx.metrics.register(Collector([Family("other", [Sample("other")])]))
    for _ in range(2):
        families = gather(served)
        assert {"vm_before", "vm_other", "vmsdk_rpc_duration_seconds"} <= set(families)
        assert len(families) < 1_100
        assert not lock.locked()
    name = re.escape(f"{Endless.__module__}.{Endless.__qualname__}")
    found = re.findall(
        rf"the metrics collector {name} yields more than 1000 metric families and samples: from '(.*)' on",
        caplog.text,
    )
    assert len(found) == 1
    assert found[0] in ("f", "f998", "bad name") or re.fullmatch(r"f\d+", found[0])


def test_a_collector_may_yield_as_much_as_the_limit(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics, "MAX_SAMPLES", 1_000)
    whole = Family("whole", [Sample("whole", labels={"n": str(n)}) for n in range(999)])
    served = served_with(serve, Collector([whole]))
    assert len(gather(served)["vm_whole"].metric) == 999
    assert "yields more" not in caplog.text


# vmsdk's own --------------------------------------------------------------------------------------


def labels(family: pb.MetricFamily) -> dict[tuple[str, ...], pb.Metric]:
    return {tuple(pair.value for pair in metric.label): metric for metric in family.metric}


def test_calls_are_counted_by_method_with_their_times_errors_and_waits_for_the_lock(serve: Serve) -> None:
    served = serve(PlainVM())
    before = labels(gather(served)["vmsdk_rpc_duration_seconds"])
    for _ in range(3):
        with pytest.raises(grpc.RpcError):
            served.client.ParseBlock(vm_pb2.ParseBlockRequest(bytes=b"garbage"))
    with pytest.raises(grpc.RpcError):
        served.client.GetBlock(vm_pb2.GetBlockRequest(id=b"short"))
    families = gather(served)
    assert ("ParseBlock",) not in before
    parses = labels(families["vmsdk_rpc_duration_seconds"])[("ParseBlock",)].histogram
    assert parses.sample_count == parses.bucket[-1].cumulative_count == 3
    assert parses.sample_sum > 0
    assert labels(families["vmsdk_engine_lock_wait_seconds"])[("ParseBlock",)].histogram.sample_count == 3
    assert labels(families["vmsdk_block_duration_seconds"])[("parse",)].histogram.sample_count == 3
    errors = labels(families["vmsdk_rpc_errors_total"])
    assert errors[("expected", "ParseBlock")].counter.value == 3
    assert errors[("request", "GetBlock")].counter.value == 1


def test_the_databases_calls_and_bytes_are_counted(serve: Serve) -> None:
    vm = PlainVM()
    served = serve(vm)
    vm.ctx.db.put(b"key", b"value")
    assert vm.ctx.db[b"key"] == b"value"
    assert vm.ctx.db.get_many([b"key", b"none"]) == [b"value", None]
    with vm.ctx.db.iterate() as pairs:
        assert list(pairs) == [(b"key", b"value")]
    with vm.ctx.db.batch() as batch:
        batch.put(b"other", b"1")
        batch.delete(b"key")
    families = gather(served)
    calls = labels(families["vmsdk_database_duration_seconds"])
    assert {"Put", "Get", "get_many", "IteratorNext", "WriteBatch"} <= {name for (name,) in calls}
    sizes = labels(families["vmsdk_database_bytes_total"])
    assert sizes[("read",)].counter.value == 3 * len(b"value")
    assert sizes[("written",)].counter.value == len(b"keyvalue" + b"other1" + b"key")


def test_a_chains_mempool_and_cache_are_on_the_page(serve: Serve) -> None:
    class Book(chain.Chain):
        def execute(self, state: chain.State, tx: Any, block: chain.Header) -> None:
            state[b"last"] = tx

    vm = Book()
    served = serve(vm)
    vm.submit(b"hello")
    with vm.snapshot() as state:
        assert state.get(b"last") is None
        assert state.get(b"last") is None
    families = gather(served)
    assert labels(families["vmsdk_mempool_transactions"])[("ready",)].gauge.value == 1
    assert labels(families["vmsdk_mempool_added_total"])[("local",)].counter.value == 1
    assert labels(families["vmsdk_state_cache_reads_total"])[("hit",)].counter.value >= 1


def test_names_follow_the_rules_of_prometheus(serve: Serve) -> None:
    # What `promtool check metrics` warns of.
    for name, family in gather(serve(PlainVM())).items():
        assert family.help, name
        assert name.endswith("_total") == (family.type == pb.COUNTER), name
        assert re.fullmatch("[a-z_]+", name), name


def test_the_dashboard_shows_metrics_that_exist(serve: Serve) -> None:
    class Book(chain.Chain):
        def execute(self, state: chain.State, tx: Any, block: chain.Header) -> None: ...

    served = serve(Book())
    with pytest.raises(grpc.RpcError):
        served.client.ParseBlock(vm_pb2.ParseBlockRequest(bytes=b"garbage"))
    served.session.instruments.http.of("/").observe(0.1)
    served.session.instruments.http_requests.add("/", "GET", "200")
    known = gather(served).keys()
    text = (ROOT / "examples" / "dashboards" / "vmsdk.json").read_text(encoding="utf-8")
    shown = set(re.findall(r"__name__=~\\\"\.\+_((?:vmsdk|process)_[a-z_]+)\\\"", text))
    assert len(shown) > 15
    # These have no samples before they have something to count.
    later = {"vmsdk_database_errors_total", "vmsdk_mempool_removed_total"}
    assert {re.sub("_(bucket|count)$", "", name) for name in shown} - later <= known
