"""Metrics, which a node shows on its own metrics page."""

from __future__ import annotations

import math
import os

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.io.prometheus.client import metrics_pb2
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.errors import CallFailed
from vmsdk.host.metrics import InvalidMetrics
from vmsdk.host.node import Host
from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import FROM_42, VM_CLIENT, Severity, Violation, contract
from vmsdk.testing.wire import PROMPT_S, call, check_prompt_during_waits, gossip, must_succeed

_GATHERER = "api/metrics/prefix_gatherer.go"
_PEERS = 500
_BLOCKS = 8


def _gather(host: Host) -> list[metrics_pb2.MetricFamily]:
    """Return the metrics as on the node's page. Raises `Violation` if they would break it."""
    with must_succeed(
        "the VM's metrics break the node's metrics page",
        sent="Gather",
        node="its metrics page fails with status 500",
        cure="use valid and unique names and labels, and the value that the family's type names",
        errors=(InvalidMetrics, CallFailed),
    ):
        return host.chain.gather()


@contract("metrics", severity=Severity.MISBEHAVES, source=_GATHERER)
def are_valid(bench: Bench) -> None:
    """Every metric family is valid: one that is not breaks the node's whole metrics page."""
    with bench.chain() as host:
        _gather(host)


@contract("metrics", severity=Severity.MISBEHAVES, source=_GATHERER)
def are_valid_again(bench: Bench) -> None:
    """Metrics stay valid when they are gathered again, and counters never fall."""
    with bench.chain() as host:
        before = _counters(_gather(host))
        bench.alive(host)
        after = _counters(_gather(host))
    fallen = sorted(name for name, value in before.items() if after.get(name, value) < value)
    if fallen:
        raise Violation(
            "a counter has fallen",
            sent="Gather twice",
            got=f"{fallen[0]}: {before[fallen[0]]}, then {after[fallen[0]]}",
            node="it shows the value; Prometheus treats the fall as a restart and counts wrongly",
            cure="use a gauge for a value that can fall",
        )


def _counters(families: list[metrics_pb2.MetricFamily]) -> dict[str, float]:
    return {
        f"{family.name}{[(label.name, label.value) for label in metric.label]}": metric.counter.value
        for family in families
        if family.type == metrics_pb2.COUNTER
        for metric in family.metric
    }


@contract("metrics", severity=Severity.BETTER_NOT, source=_GATHERER)
def histograms_add_up(bench: Bench) -> None:
    """The buckets of a histogram are cumulative: they rise with the bound, up to the count."""
    with bench.chain() as host:
        families = _gather(host)
    for family in families:
        for metric in family.metric:
            buckets = [(each.upper_bound, each.cumulative_count) for each in metric.histogram.bucket]
            finite = [count for bound, count in buckets if not math.isnan(bound)]
            total = metric.histogram.sample_count
            if buckets != sorted(buckets) or finite != sorted(finite) or (finite and finite[-1] > total):
                raise Violation(
                    f"the buckets of the histogram {family.name} do not add up",
                    sent="Gather",
                    got=f"the buckets {buckets} of {total} samples",
                    node="it shows them; quantiles that are computed from them are wrong",
                    cure="count each sample in all buckets whose bound is not below it",
                )


@contract("metrics", severity=Severity.MISBEHAVES, source=VM_CLIENT, protocols=range(35, 38))
def are_gathered_before_initialize(bench: Bench) -> None:
    """Up to protocol 37 the node gathers metrics as soon as the plugin has started."""
    with (
        bench.connected() as host,
        must_succeed(
            "Gather fails before Initialize",
            sent="Gather after the handshake",
            node="its metrics page fails with status 500 until the chain is initialised",
            cure="return no metrics before Initialize",
        ),
    ):
        call(host, "Gather", Empty(), PROMPT_S)


@contract("metrics", severity=Severity.MISBEHAVES, source=VM_CLIENT, protocols=FROM_42)
def do_not_wait_for_events(bench: Bench) -> None:
    """The node gathers without a deadline, so Gather must not wait for other calls."""
    with bench.chain() as host:
        check_prompt_during_waits(host, "Gather")


@contract("metrics", severity=Severity.MISBEHAVES, source=VM_CLIENT)
def are_gathered_at_once(bench: Bench) -> None:
    """Gather can run several times at once, in parallel with the engine's calls."""
    with bench.chain() as host:
        calls = [host.client.Gather.start(Empty(), PROMPT_S) for _ in range(8)]
        missing = [
            host.client.GetBlock.start(pb.GetBlockRequest(id=os.urandom(32)), PROMPT_S) for _ in range(8)
        ]
        for each in calls:
            with must_succeed(
                "Gather fails when it runs several times at once",
                sent="8 calls of Gather at once, with 8 of GetBlock",
                node="its metrics page fails with status 500",
                cure="make the collection of metrics thread-safe",
            ):
                each.result()
        for other in missing:
            other.exception()
        _gather(host)


@contract("metrics", severity=Severity.BETTER_NOT, source=_GATHERER)
def do_not_grow_with_peers(bench: Bench) -> None:
    """The number of series does not grow with the number of peers."""
    with bench.chain() as host:
        before = _series(_gather(host))
        for number in range(_PEERS):
            node_id = number.to_bytes(20, "big")
            call(host, *gossip(node_id, node_id), PROMPT_S)
        grown = _series(_gather(host)) - before
    if grown >= _PEERS:
        raise Violation(
            "the VM has metrics for each peer",
            sent=f"gossip from {_PEERS} different nodes",
            got=f"{grown} new series",
            node="its metrics page grows without bound",
            cure="use no label whose value a peer chooses",
        )


@contract("metrics", severity=Severity.BETTER_NOT, source=_GATHERER, needs_blocks=True)
def do_not_grow_with_blocks(bench: Bench) -> None:
    """The number of series does not grow with the number of blocks and transactions."""
    with bench.chain() as host:
        bench.grow(host, 2)  # The first blocks may bring new series.
        before = _series(_gather(host))
        bench.grow(host, _BLOCKS)
        grown = _series(_gather(host)) - before
    if grown >= _BLOCKS:
        raise Violation(
            "the VM has metrics for each block or transaction",
            sent=f"{_BLOCKS} transactions and blocks",
            got=f"{grown} new series",
            node="its metrics page grows without bound",
            cure="use no label for a height, an ID or an account: count them together",
        )


def _series(families: list[metrics_pb2.MetricFamily]) -> int:
    return sum(len(family.metric) for family in families)
