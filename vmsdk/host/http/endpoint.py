"""The node's own endpoints that tools look at: `/ext/health` and `/ext/metrics`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeAlias

from vmsdk._pb.io.prometheus.client import metrics_pb2
from vmsdk.host.http import metricstext


class Reply(NamedTuple):
    """What an endpoint answers."""

    status: int
    content_type: str
    body: bytes


Endpoint: TypeAlias = Callable[[], Reply]
"""Runs in a thread: it may call the VM."""

Health: TypeAlias = Callable[[], Mapping[str, object]]
"""What is known of the node's health; its item `healthy` decides between 200 and 503."""

Gather: TypeAlias = Callable[[], Iterable[metrics_pb2.MetricFamily]]
"""The metrics of the chains, in protobuf."""


def health(check: Health) -> Endpoint:
    """`/ext/health`. A *check* that raises is itself bad health."""

    def answer() -> Reply:
        try:
            report = dict(check())
        except Exception as error:  # noqa: BLE001 - whatever broke the check, the node is not healthy
            report = {"healthy": False, "error": str(error)}
        status = 200 if report.setdefault("healthy", True) else 503
        return Reply(status, "application/json", json.dumps(report, default=str).encode() + b"\n")

    return answer


def metrics(gather: Gather) -> Endpoint:
    """`/ext/metrics`, in the text format of Prometheus."""

    def answer() -> Reply:
        try:
            text = metricstext.render(gather())
        except Exception as error:  # noqa: BLE001 - as in a node, a failed Gather breaks the endpoint, visibly
            message = f"An error has occurred while serving metrics:\n\n{error}\n"
            return Reply(500, "text/plain; charset=utf-8", message.encode())
        return Reply(200, metricstext.CONTENT_TYPE, text.encode())

    return answer
