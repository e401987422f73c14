"""The requests and responses of the node's own endpoints, and its metrics page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeAlias

from vmsdk._pb.io.prometheus.client import metrics_pb2
from vmsdk._pb.io.prometheus.client.metrics_pb2 import Metric, MetricFamily


class EndpointRequest(NamedTuple):
    """A request to an endpoint."""

    method: str
    content_type: str
    origin: str
    """The origin of the web page that sent it, or empty."""
    body: bytes


class EndpointResponse(NamedTuple):
    """The response of an endpoint."""

    status: int
    content_type: str
    body: str


Endpoint: TypeAlias = Callable[[EndpointRequest], EndpointResponse]
"""Runs in a thread: it may call the VM."""

Gather: TypeAlias = Callable[[], Iterable[MetricFamily]]
"""Returns the metrics of the chains."""

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics(gather: Gather) -> Endpoint:
    """Make `/ext/metrics`, in Prometheus' text format. If *gather* fails, the status is 500."""

    def respond(request: EndpointRequest) -> EndpointResponse:
        try:
            return EndpointResponse(200, _METRICS_TYPE, _text(gather()))
        except Exception as error:  # noqa: BLE001 - the page says what failed
            message = f"An error has occurred while serving metrics:\n\n{error}\n"
            return EndpointResponse(500, "text/plain; charset=utf-8", message)

    return respond


def _text(families: Iterable[MetricFamily]) -> str:
    """Source: https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4."""
    lines = []
    for family in sorted(families, key=lambda family: family.name):
        if family.help:
            lines.append(f"# HELP {family.name} {_escape(family.help)}\n")
        kind = metrics_pb2.MetricType.Name(family.type).lower().removeprefix("gauge_")
        lines.append(f"# TYPE {family.name} {kind}\n")
        for metric in family.metric:
            own = {label.name: label.value for label in metric.label}
            for suffix, labels, value in _samples(metric):
                inside = ",".join(f'{k}="{_escape(v, quoted=True)}"' for k, v in {**own, **labels}.items())
                braces = f"{{{inside}}}" if inside else ""
                lines.append(f"{family.name}{suffix}{braces} {_number(value)}\n")
    return "".join(lines)


def _samples(metric: Metric) -> Iterator[tuple[str, dict[str, str], float]]:
    """Yield the suffix of the family's name, extra labels, and the value of each sample."""
    if metric.HasField("summary"):
        for quantile in metric.summary.quantile:
            yield "", {"quantile": _number(quantile.quantile)}, quantile.value
        yield "_sum", {}, metric.summary.sample_sum
        yield "_count", {}, metric.summary.sample_count
    elif metric.HasField("histogram"):
        for bucket in metric.histogram.bucket:
            if not math.isinf(bucket.upper_bound):
                yield "_bucket", {"le": _number(bucket.upper_bound)}, bucket.cumulative_count
        yield "_bucket", {"le": "+Inf"}, metric.histogram.sample_count
        yield "_sum", {}, metric.histogram.sample_sum
        yield "_count", {}, metric.histogram.sample_count
    elif metric.HasField("counter"):
        yield "", {}, metric.counter.value
    else:
        yield "", {}, metric.gauge.value if metric.HasField("gauge") else metric.untyped.value


def _number(value: float) -> str:
    text = repr(value).removesuffix(".0")
    return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}.get(text, text)


def _escape(text: str, *, quoted: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quoted else text
