"""A VM's metrics, as a node merges them into its own metrics page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from vmsdk._pb.io.prometheus.client import metrics_pb2 as pb
from vmsdk.host.errors import HostError
from vmsdk.ids import ID, vm_id

_PLATFORM = "metal"
_CHAIN_LABEL = "chain"

# The VMs whose name the page shows. Sources: chains/manager.go and utils/constants/vm_ids.go.
_VM_NAMES = {vm_id(name): name for name in ("platformvm", "avm", "evm", "subnetevm", "xsvm")}

# Source: the Prometheus data model.
_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_VALUE_FIELDS: dict[int, Literal["counter", "gauge", "summary", "untyped", "histogram"]] = {
    pb.COUNTER: "counter",
    pb.GAUGE: "gauge",
    pb.SUMMARY: "summary",
    pb.UNTYPED: "untyped",
    pb.HISTOGRAM: "histogram",
    pb.GAUGE_HISTOGRAM: "histogram",
}
_DERIVED_SUFFIXES = {
    pb.SUMMARY: ("_count", "_sum"),
    pb.HISTOGRAM: ("_count", "_sum", "_bucket"),
    pb.GAUGE_HISTOGRAM: ("_count", "_sum", "_bucket"),
}


class InvalidMetrics(HostError):
    """A metric family breaks a rule: on a node, the whole metrics page fails with status 500."""

    def __init__(self, family: str, reason: str) -> None:
        super().__init__(f"the node's metrics page would fail: metric family {family!r}: {reason}")


def chain_families(
    families: Iterable[pb.MetricFamily],
    *,
    vm_id: ID,
    chain_alias: str,
    plugin_prefix: str = "",
) -> list[pb.MetricFamily]:
    """Return the families as a node shows them: with prefix and chain label, sorted by name.

    *plugin_prefix* is what the protocol's nodes put before a plugin's names. Raises
    `InvalidMetrics`.
    """
    prefix = f"{_PLATFORM}_{_VM_NAMES.get(vm_id, str(vm_id))}_{plugin_prefix}"
    merged: dict[str, pb.MetricFamily] = {}
    for family in families:
        shown = pb.MetricFamily()
        shown.CopyFrom(family)
        shown.name = prefix + family.name
        for metric in shown.metric:
            metric.label.add(name=_CHAIN_LABEL, value=chain_alias)
        known = merged.setdefault(shown.name, shown)
        if known is not shown:
            _check_same(known, shown)
            known.metric.extend(shown.metric)
    for family in merged.values():
        _check_family(family)
    _check_suffixes(merged)
    return [merged[name] for name in sorted(merged)]


def _check_same(known: pb.MetricFamily, other: pb.MetricFamily) -> None:
    if known.help != other.help:
        raise InvalidMetrics(other.name, f"has help {other.help!r} but should have {known.help!r}")
    if known.type != other.type:
        raise InvalidMetrics(other.name, f"has type {other.type} but should have {known.type}")


def _check_family(family: pb.MetricFamily) -> None:
    if not _METRIC_NAME.fullmatch(family.name):
        raise InvalidMetrics(family.name, "is not a valid metric name")
    seen: set[tuple[tuple[str, str], ...]] = set()
    for metric in family.metric:
        if not metric.HasField(_VALUE_FIELDS[family.type]):
            raise InvalidMetrics(family.name, f"a metric has no {_VALUE_FIELDS[family.type]}")
        labels = _check_labels(family, metric.label)
        if labels in seen:
            raise InvalidMetrics(
                family.name, f"was collected before with the same name and label values: {dict(labels)}"
            )
        seen.add(labels)


def _check_labels(family: pb.MetricFamily, labels: Sequence[pb.LabelPair]) -> tuple[tuple[str, str], ...]:
    names = [label.name for label in labels]
    for name in names:
        if not _LABEL_NAME.fullmatch(name) or name.startswith("__"):
            raise InvalidMetrics(family.name, f"has a label with the invalid name {name!r}")
        if name == "quantile" and family.type == pb.SUMMARY:
            raise InvalidMetrics(family.name, "a summary must not have a label 'quantile'")
    if len(set(names)) != len(names):
        raise InvalidMetrics(family.name, f"has two labels of the same name: {sorted(names)}")
    return tuple(sorted((label.name, label.value) for label in labels))


def _check_suffixes(families: dict[str, pb.MetricFamily]) -> None:
    for family in families.values():
        for suffix in _DERIVED_SUFFIXES.get(family.type, ()):
            if family.name + suffix in families:
                raise InvalidMetrics(family.name, f"collides with the family {family.name + suffix!r}")
