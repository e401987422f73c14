"""Metrics in the text format of Prometheus.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from vmsdk._pb.io.prometheus.client import metrics_pb2
from vmsdk._pb.io.prometheus.client.metrics_pb2 import Metric, MetricFamily

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_Label = tuple[str, str]

_TYPES = {
    metrics_pb2.COUNTER: "counter",
    metrics_pb2.GAUGE: "gauge",
    metrics_pb2.SUMMARY: "summary",
    metrics_pb2.UNTYPED: "untyped",
    metrics_pb2.HISTOGRAM: "histogram",
    metrics_pb2.GAUGE_HISTOGRAM: "histogram",
}


def render(families: Iterable[MetricFamily]) -> str:
    """The *families*, sorted by name."""
    lines: list[str] = []
    for family in sorted(families, key=lambda family: family.name):
        if family.help:
            lines.append(f"# HELP {family.name} {_escape(family.help)}")
        lines.append(f"# TYPE {family.name} {_TYPES[family.type]}")
        for metric in family.metric:
            lines.extend(_samples(family, metric))
    return "".join(f"{line}\n" for line in lines)


def _samples(family: MetricFamily, metric: Metric) -> Iterator[str]:
    name = family.name
    labels = [(label.name, label.value) for label in metric.label]
    if metric.HasField("summary"):
        for quantile in metric.summary.quantile:
            yield _line(name, [*labels, ("quantile", _number(quantile.quantile))], quantile.value)
        yield _line(f"{name}_sum", labels, metric.summary.sample_sum)
        yield _line(f"{name}_count", labels, metric.summary.sample_count)
    elif metric.HasField("histogram"):
        yield from _histogram(name, labels, metric.histogram)
    elif metric.HasField("counter"):
        yield _line(name, labels, metric.counter.value)
    elif metric.HasField("gauge"):
        yield _line(name, labels, metric.gauge.value)
    else:
        yield _line(name, labels, metric.untyped.value)


def _histogram(name: str, labels: Sequence[_Label], histogram: metrics_pb2.Histogram) -> Iterator[str]:
    for bucket in histogram.bucket:
        if not math.isinf(bucket.upper_bound):
            bound = ("le", _number(bucket.upper_bound))
            yield _line(f"{name}_bucket", [*labels, bound], bucket.cumulative_count)
    yield _line(f"{name}_bucket", [*labels, ("le", "+Inf")], histogram.sample_count)
    yield _line(f"{name}_sum", labels, histogram.sample_sum)
    yield _line(f"{name}_count", labels, histogram.sample_count)


def _line(name: str, labels: Sequence[_Label], value: float) -> str:
    inside = ",".join(f'{label}="{_escape(text, quoted=True)}"' for label, text in labels)
    return f"{name}{{{inside}}} {_number(value)}" if inside else f"{name} {_number(value)}"


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)


def _escape(text: str, *, quoted: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quoted else text
