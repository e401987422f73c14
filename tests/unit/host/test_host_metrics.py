"""Edge 63: the node's merge of a VM's metrics."""

from __future__ import annotations

from typing import Any

import pytest

from vmsdk._pb.io.prometheus.client import metrics_pb2 as pb
from vmsdk.host.metrics import InvalidMetrics, chain_families
from vmsdk.ids import ID, vm_id

VM = ID(bytes(range(32)))


def merge(*families: dict[str, Any], **options: Any) -> list[pb.MetricFamily]:
    options = {"vm_id": VM, "chain_alias": "C", **options}
    return chain_families([pb.MetricFamily(**family) for family in families], **options)


def gauge(name: str = "vm_x", *, labels: tuple[tuple[str, str], ...] = (), **more: Any) -> dict[str, Any]:
    pairs = [{"name": label, "value": value} for label, value in labels]
    return {"name": name, "type": pb.GAUGE, "metric": [{"gauge": {"value": 1}, "label": pairs}], **more}


def test_names_get_the_platform_and_the_vm_and_metrics_the_chain() -> None:
    [family] = merge(gauge(labels=(("a", "b"),)))
    assert family.name == f"metal_{VM}_vm_x"
    assert [(one.name, one.value) for one in family.metric[0].label] == [("a", "b"), ("chain", "C")]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"vm_id": vm_id("subnetevm")}, "metal_subnetevm_vm_x"),
        ({"plugin_prefix": "plugin_"}, f"metal_{VM}_plugin_vm_x"),
    ],
)
def test_the_prefix_depends_on_vm_and_protocol(options: dict[str, Any], name: str) -> None:
    assert merge(gauge(), **options)[0].name == name


def test_families_come_sorted_and_those_of_one_name_together() -> None:
    families = merge(
        gauge("b"), gauge("a", labels=(("x", "1"),), help="h"), gauge("a", labels=(("x", "2"),), help="h")
    )
    assert [(one.name.rpartition("_")[2], len(one.metric)) for one in families] == [("a", 2), ("b", 1)]


def test_no_families_stay_no_families() -> None:
    assert merge() == []


@pytest.mark.parametrize(
    ("families", "reason"),
    [
        ([gauge() | {"type": pb.COUNTER}], "a metric has no counter"),
        ([{"name": "vm_x", "type": pb.GAUGE, "metric": [{}]}], "a metric has no gauge"),
        ([{"name": "vm_x", "type": pb.HISTOGRAM, "metric": [{}]}], "a metric has no histogram"),
        ([gauge("vm x")], "is not a valid metric name"),
        ([gauge(labels=(("1", "x"),))], "invalid name '1'"),
        ([gauge(labels=(("a-b", "x"),))], "invalid name 'a-b'"),
        ([gauge(labels=(("__x", "x"),))], "invalid name '__x'"),
        ([gauge(labels=(("a", "1"), ("a", "2")))], "two labels of the same name"),
        ([gauge(labels=(("chain", "x"),))], "two labels of the same name"),
        ([gauge(), gauge()], "was collected before"),
        (
            [gauge(labels=(("a", "1"), ("b", "2"))), gauge(labels=(("b", "2"), ("a", "1")))],
            "was collected before",
        ),
        (
            [gauge(help="one"), gauge(help="two", labels=(("a", "b"),))],
            "has help 'two' but should have 'one'",
        ),
        (
            [gauge(), {"name": "vm_x", "type": pb.COUNTER, "metric": [{"counter": {"value": 1}}]}],
            "has type 0 but should have 1",
        ),
        (
            [
                {"name": "vm_x", "type": pb.HISTOGRAM, "metric": [{"histogram": {"sample_count": 1}}]},
                gauge("vm_x_bucket"),
            ],
            "collides with the family",
        ),
        (
            [
                {
                    "name": "vm_x",
                    "type": pb.SUMMARY,
                    "metric": [{"summary": {}, "label": [{"name": "quantile", "value": "x"}]}],
                }
            ],
            "must not have a label 'quantile'",
        ),
    ],
)
def test_edge_63_what_would_break_the_metrics_page_is_refused(
    families: list[dict[str, Any]], reason: str
) -> None:
    with pytest.raises(InvalidMetrics, match=reason):
        merge(*families)


def test_a_gauge_may_end_like_a_part_of_a_summary_if_there_is_none() -> None:
    assert len(merge(gauge("vm_x_count"), gauge("vm_x_sum"))) == 2
