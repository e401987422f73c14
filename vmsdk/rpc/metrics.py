"""The chain's metrics for the node: the author's, the process's and vmsdk's, in protobuf."""

from __future__ import annotations

import gc
import logging
import math
import os
import re
import reprlib
import threading
import time
import types
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any

from vmsdk._pb.io.prometheus.client import metrics_pb2 as pb
from vmsdk.errors import VMError
from vmsdk.metrics import Collector, Family, MetricFamily, Metrics, MetricSample, Sample, family
from vmsdk.rpc.errors import FaultLog, details
from vmsdk.rpc.watchdog import described

# As in a Go VM. The node puts `avalanche_<vm id>_` (or `metal_…`) in front.
AUTHOR_PREFIX = "vm_"
PROCESS_PREFIX = "process_"
SDK_PREFIX = "vmsdk_"

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")

_TYPES = {
    "counter": pb.COUNTER,
    "gauge": pb.GAUGE,
    "summary": pb.SUMMARY,
    "histogram": pb.HISTOGRAM,
    "unknown": pb.UNTYPED,
    "untyped": pb.UNTYPED,
    "info": pb.GAUGE,
    "stateset": pb.GAUGE,
}

# The suffixes of the other names that a family has on the node's page. No other family may have
# them. Source: checkSuffixCollisions in prometheus/client_golang.
_LINES = {pb.SUMMARY: ("_count", "_sum"), pb.HISTOGRAM: ("_count", "_sum", "_bucket")}

COLLECT_S = 2.0
"""Prometheus gives a scrape 10 s by default, for all chains of the node together."""

MAX_SAMPLES = 50_000
"""Families and samples of one of the author's collectors per scrape. This many take about 0.3 s."""

# One warning for each family. A collector that makes up new names must not fill log and memory.
MAX_COMPLAINTS = 1_000


class UnusableMetric(VMError):
    """A metric family that would make the node refuse the chain's whole metrics page."""

    def __init__(self, family: str, rule: str) -> None:
        super().__init__(f"metric {family!r} is left out: {rule}")


# Not `Exception`, so that they pass the handlers of errors in one family.


class _TooMany(BaseException):
    """A collector has yielded more than `MAX_SAMPLES`."""


class _Abandoned(BaseException):
    """Nobody waits for the scrape now."""


class _Limit:
    """Ends the scrape of one of the author's collectors, which may yield without end."""

    def __init__(self, abandoned: threading.Event) -> None:
        self._abandoned = abandoned
        self._yielded = 0

    def __call__(self, items: Iterable[Any]) -> Iterator[Any]:
        """The *items*; raises `_TooMany` or `_Abandoned` where the scrape ends."""
        try:
            for item in items:
                if self._abandoned.is_set():
                    raise _Abandoned
                self._yielded += 1
                if self._yielded > MAX_SAMPLES:
                    raise _TooMany
                yield item
        finally:
            if isinstance(items, Generator):
                items.close()  # at once: it may hold a lock


Limit = Callable[[Iterable[Any]], Iterator[Any]]


class MetricsPage(Metrics):
    """All families of this process, collected at each scrape."""

    def __init__(self, faults: FaultLog, log: logging.Logger) -> None:
        self._faults = faults
        self._log = log
        self._lock = threading.Lock()
        self._collectors: list[Collector] = []
        self._own: list[tuple[str, Collector]] = [(PROCESS_PREFIX, _Process()), (SDK_PREFIX, faults)]
        self._complaints: set[str] = set()
        self._collected: threading.Event | None = None

    def register(self, collector: Collector) -> None:
        if isinstance(collector, type) or not callable(getattr(collector, "collect", None)):
            raise TypeError(
                "ctx.metrics.register takes a CollectorRegistry of prometheus_client or an object with a "
                f"method collect, not {reprlib.repr(collector)}"
            )
        with self._lock:
            if not any(each is collector for each in self._collectors):
                self._collectors.append(collector)

    def register_own(self, collector: Collector) -> None:
        self._own.append((SDK_PREFIX, collector))

    def gather(self) -> list[pb.MetricFamily]:
        """Every family that the node accepts; the others are logged once and left out.

        If the author's collectors take longer than `COLLECT_S`, their families are left out too:
        the node waits for this call without a limit, and the metrics of its other chains wait with
        it. Not thread-safe.
        """
        families: dict[str, pb.MetricFamily] = {}
        if self._collectors:
            families = self._collect_in_time()
        for prefix, collector in self._own:
            self._collect(families, prefix, collector)
        return list(families.values())

    def _collect_in_time(self) -> dict[str, pb.MetricFamily]:
        if self._collected is not None and not self._collected.is_set():
            return {}
        families: dict[str, pb.MetricFamily] = {}
        ended, abandoned = threading.Event(), threading.Event()
        asked = ""

        def collect() -> None:
            nonlocal asked
            try:
                for collector in tuple(self._collectors):
                    asked = _named(collector)
                    self._collect(families, AUTHOR_PREFIX, collector, _Limit(abandoned))
            except _Abandoned:
                pass
            finally:
                ended.set()

        try:
            thread = threading.Thread(target=collect, name="vmsdk-metrics", daemon=True)
            thread.start()
        except (RuntimeError, MemoryError) as error:
            self._log.warning("this scrape has no metrics of the VM: %s", error)
            return {}
        self._collected = ended
        if ended.wait(COLLECT_S):
            return families
        abandoned.set()
        self._log.warning(
            "collecting the VM's metrics takes longer than %g s, now by %s in %s: scrapes leave them out "
            "until it returns",
            COLLECT_S,
            asked,
            described(thread.ident or 0),
        )
        return {}

    def _collect(
        self,
        families: dict[str, pb.MetricFamily],
        prefix: str,
        collector: Collector,
        limit: Limit = iter,
    ) -> None:
        name = ""
        try:
            for family in limit(_families_of(collector)):  # one by one, to keep those before a failure
                name = str(getattr(family, "name", family))
                try:
                    converted = _convert(prefix, family, limit)
                    _check_name(families, converted)
                    if converted.metric:
                        families[converted.name] = converted
                except UnusableMetric as error:
                    self._complain(name, error)
                except Exception as error:  # noqa: BLE001 - the author's code, as below
                    self._complain(name, UnusableMetric(name, details(error)))
        except _Abandoned:
            raise
        except _TooMany:
            which = _named(collector)
            self._complain(
                which,
                f"{which} yields more than {MAX_SAMPLES} metric families and samples: from {name!r} on, they "
                "are left out of each scrape",
            )
        except BaseException as error:  # noqa: BLE001 - the author's code; the node's page must not fail
            self._faults.record("a metrics collector", error, "its metrics are left out of this scrape")

    def _complain(self, about: str, problem: object) -> None:
        with self._lock:
            if about in self._complaints or len(self._complaints) >= MAX_COMPLAINTS:
                return
            self._complaints.add(about)
        self._log.warning("%s", problem)


def _families_of(collector: Collector) -> Iterable[Any]:
    families: object = collector.collect()
    if isinstance(families, Iterable):
        return families
    if isinstance(families, types.CoroutineType):
        families.close()
    kind = type(families).__name__
    raise TypeError(f"{_named(collector)}: collect() returned a {kind}: return a list of families")


def _named(collector: Collector) -> str:
    kind = type(collector)
    return f"the metrics collector {kind.__module__}.{kind.__qualname__}"


# Conversion of one family -------------------------------------------------------------------------


def _convert(prefix: str, family: MetricFamily, limit: Limit) -> pb.MetricFamily:
    kind = _TYPES.get(family.type)
    if kind is None:
        raise UnusableMetric(family.name, f"its type {family.type!r} has no protobuf form")
    # In prometheus_client the samples of a counter have a suffix that its family lacks.
    suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
    name = prefix + family.name.removesuffix(suffix) + suffix
    if not _NAME.match(name):
        raise UnusableMetric(family.name, "a name is letters, digits, '_' and ':', no digit first")
    converted = pb.MetricFamily(name=name, help=family.documentation, type=kind)
    metrics: dict[tuple[tuple[str, str], ...], pb.Metric] = {}
    for sample in limit(family.samples):
        if sample.name.endswith("_created") and family.type in ("counter", "summary", "histogram"):
            continue
        _add_sample(metrics, family, kind, sample)
    converted.metric.extend(metrics.values())
    for metric in converted.metric:
        if kind == pb.HISTOGRAM:
            metric.histogram.bucket.sort(key=lambda bucket: bucket.upper_bound)
        lines = [each.upper_bound for each in metric.histogram.bucket]
        lines += [each.quantile for each in metric.summary.quantile]
        if len(set(lines)) < len(lines):
            raise UnusableMetric(family.name, "two of its buckets or quantiles are the same")
        if any(map(math.isnan, lines)):
            raise UnusableMetric(family.name, "the bound of a bucket, or a quantile, is not a number")
        if kind == pb.HISTOGRAM and not metric.histogram.HasField("sample_count"):
            raise UnusableMetric(family.name, "it has neither a count nor a bucket with le='+Inf'")
    return converted


def _check_name(families: Mapping[str, pb.MetricFamily], family: pb.MetricFamily) -> None:
    """Raise if another family has this name, or one that this family also takes."""
    name = family.name
    if name in families:
        raise UnusableMetric(name, "another family has the same name: is it registered twice?")
    for suffix in _LINES.get(family.type, ()):
        if name + suffix in families:
            raise UnusableMetric(name, f"its line {name + suffix!r} has the name of another family")
    base, _, suffix = name.rpartition("_")
    if base in families and "_" + suffix in _LINES.get(families[base].type, ()):
        raise UnusableMetric(name, f"the family {base!r} has a line of that name")


def _add_sample(
    metrics: dict[tuple[tuple[str, str], ...], pb.Metric],
    family: MetricFamily,
    kind: pb.MetricType.ValueType,
    sample: MetricSample,
) -> None:
    special = {pb.SUMMARY: "quantile", pb.HISTOGRAM: "le"}.get(kind)
    labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != special))
    metric = metrics.get(labels)
    if metric is None:
        metric = metrics[labels] = pb.Metric(label=_label_pairs(family.name, labels))
    elif kind not in (pb.SUMMARY, pb.HISTOGRAM):
        raise UnusableMetric(family.name, f"two samples have the labels {dict(labels)}")
    if kind == pb.COUNTER:
        metric.counter.value = sample.value
    elif kind == pb.GAUGE:
        metric.gauge.value = sample.value
    elif kind == pb.UNTYPED:
        metric.untyped.value = sample.value
    else:
        _add_part(metric.summary if kind == pb.SUMMARY else metric.histogram, family.name, sample)


def _add_part(parts: pb.Summary | pb.Histogram, family: str, sample: MetricSample) -> None:
    """One line of a summary or a histogram: its count, its sum, a quantile or a bucket."""
    parts.SetInParent()
    if sample.name.endswith("_count"):
        parts.sample_count = int(sample.value)
    elif sample.name.endswith("_sum"):
        parts.sample_sum = sample.value
    elif isinstance(parts, pb.Histogram):
        bound = float(_special_label(family, sample.labels, "le"))
        parts.bucket.append(pb.Bucket(cumulative_count=int(sample.value), upper_bound=bound))
        if bound == float("inf") and not parts.HasField("sample_count"):
            parts.sample_count = int(sample.value)
    else:
        quantile = float(_special_label(family, sample.labels, "quantile"))
        parts.quantile.append(pb.Quantile(quantile=quantile, value=sample.value))


def _special_label(family: str, labels: Mapping[str, str], name: str) -> str:
    try:
        return labels[name]
    except KeyError:
        raise UnusableMetric(family, f"a sample lacks the label {name!r}") from None


def _label_pairs(family: str, labels: Iterable[tuple[str, str]]) -> list[pb.LabelPair]:
    pairs = []
    for name, value in labels:
        if not _LABEL.match(name) or name.startswith("__"):
            raise UnusableMetric(family, f"{name!r} is not a label name")
        if name == "chain":
            raise UnusableMetric(family, "the node sets the label 'chain' itself")
        if not isinstance(value, str):
            raise UnusableMetric(family, f"the value of its label {name!r} is {value!r}, and not a string")
        pairs.append(pb.LabelPair(name=name, value=value))
    return pairs


# The process --------------------------------------------------------------------------------------


# The module is imported at the start of the process.
_STARTED_S = time.time()
# The names are prometheus_client's.
_COLLECTIONS = (
    ("collections", "collections", "Runs of the garbage collector"),
    ("collected", "objects_collected", "Objects that the garbage collector has freed"),
    ("uncollectable", "objects_uncollectable", "Objects that the garbage collector could not free"),
)


class _Process:
    """The collector of the process's metrics.

    With the prefix, a Go VM's are called process_process_cpu_seconds_total and so on. Dashboards
    know those names.
    """

    def collect(self) -> Iterator[Family]:
        times = os.times()
        cpu_s = times.user + times.system
        yield family("counter", "process_cpu_seconds_total", "User and system CPU time, seconds", cpu_s)
        yield family(
            "gauge", "process_start_time_seconds", "Start of the process, seconds since 1970", _STARTED_S
        )
        yield from _linux_process()
        generations = gc.get_stats()
        for key, what, text in _COLLECTIONS:
            name = f"python_gc_{what}_total"
            samples = [
                Sample(name, {"generation": str(number)}, figures[key])
                for number, figures in enumerate(generations)
            ]
            yield Family(name, text, "counter", samples)


def _linux_process() -> Iterator[Family]:
    """Metrics from /proc; none on other systems."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            virtual, resident = (int(pages) for pages in statm.read().split()[:2])
        open_files = len(os.listdir("/proc/self/fd"))
        threads = len(os.listdir("/proc/self/task"))
    except OSError:
        return
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    yield family("gauge", "process_virtual_memory_bytes", "Virtual memory, bytes", virtual * page_bytes)
    yield family("gauge", "process_resident_memory_bytes", "Resident memory, bytes", resident * page_bytes)
    yield family("gauge", "process_open_fds", "Open file descriptors", open_files)
    yield family("gauge", "process_threads", "Operating system threads", threads)
