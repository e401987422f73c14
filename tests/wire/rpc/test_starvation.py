"""Whatever hangs in the author's code, the engine, Health and Shutdown find a thread."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from prometheus_client.core import GaugeMetricFamily

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.rpc import metrics, monitoring

from .conftest import PATIENCE_S, Serve, Served, refused
from .plainvm import PlainVM

MANY = 40
"""More than all lanes of author's code run at a time."""


class Hanging:
    """Blocks whoever calls it until the end of the test."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.released = threading.Event()

    def __call__(self, *_: object) -> Any:
        self.begun.release()
        assert self.released.wait(2 * PATIENCE_S)

    def collect(self) -> list[Any]:
        self()
        return []

    def wait(self) -> None:
        assert self.begun.acquire(timeout=PATIENCE_S)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    hanging = Hanging()
    yield hanging
    hanging.released.set()


@pytest.fixture
def given_up(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape is given up soon after a collector hangs, and not before."""
    start = threading.Thread.start

    def start_and_wait(thread: threading.Thread) -> None:
        start(thread)
        if thread.name == "vmsdk-metrics":
            hanging.wait()

    monkeypatch.setattr(threading.Thread, "start", start_and_wait)
    monkeypatch.setattr(metrics, "COLLECT_S", 0.05)


def assert_all_is_served(served: Served, vm: PlainVM) -> None:
    assert served.client.GetBlock(pb.GetBlockRequest(id=vm.genesis.id)).bytes == vm.genesis.raw
    assert served.client.Health(Empty()).details
    assert served.client.Version(Empty()).version
    assert served.client.check_health() == 1


def test_hanging_messages_stop_nothing_else(serve: Serve, hanging: Hanging) -> None:
    vm = PlainVM(app_gossip=hanging)
    served = serve(vm)
    calls = [served.client.AppGossip.start(pb.AppGossipMsg(node_id=bytes(20))) for _ in range(MANY)]
    hanging.wait()
    assert_all_is_served(served, vm)
    served.client.Shutdown(Empty())
    hanging.released.set()
    for call in calls:
        call.result(PATIENCE_S)


def test_hanging_collectors_stop_nothing_else_and_leave_vmsdks_own_metrics(
    serve: Serve, hanging: Hanging, given_up: None, caplog: pytest.LogCaptureFixture
) -> None:
    vm = PlainVM()
    served = serve(vm)
    for _ in range(MANY):
        vm.ctx.metrics.register(hanging)
    scrapes = [served.client.Gather.start(Empty()) for _ in range(MANY)]
    assert_all_is_served(served, vm)
    for scrape in scrapes:
        assert scrape.result(PATIENCE_S).metric_families
    # One thread hangs, not forty, and the log says so once.
    assert not hanging.begun.acquire(blocking=False)
    assert caplog.text.count("collecting the VM's metrics takes longer than") == 1
    assert re.search(
        r"now by the metrics collector \S+\.Hanging in thread vmsdk-metrics "
        r"at \S+test_starvation\.py:\d+ in __call__:",
        caplog.text,
    )
    served.client.Shutdown(Empty())


def test_a_collector_that_yields_slowly_without_end_is_left_when_its_time_is_over(
    serve: Serve, hanging: Hanging, given_up: None, caplog: pytest.LogCaptureFixture
) -> None:
    left = threading.Event()

    class Slow:
        def collect(self) -> Iterator[Any]:
            try:
                while True:
                    hanging()
                    yield GaugeMetricFamily("answer", "", value=42.0)
            finally:
                left.set()

    vm = PlainVM()
    served = serve(vm)
    vm.ctx.metrics.register(Slow())
    assert served.client.Gather(Empty()).metric_families
    hanging.released.set()
    assert left.wait(PATIENCE_S)
    assert re.search(r"now by the metrics collector \S+\.Slow in thread vmsdk-metrics", caplog.text)


def test_a_collector_that_returns_in_the_end_is_asked_again(
    serve: Serve, hanging: Hanging, given_up: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late:
        def collect(self) -> list[Any]:
            hanging()
            return [GaugeMetricFamily("answer", "", value=42.0)]

    vm = PlainVM()
    served = serve(vm)
    vm.ctx.metrics.register(Late())

    def names() -> set[str]:
        return {family.name for family in served.client.Gather(Empty()).metric_families}

    assert "vm_answer" not in names()
    hanging.released.set()
    monkeypatch.setattr(metrics, "COLLECT_S", PATIENCE_S)
    collected = served.session.metrics._collected
    assert collected is not None
    assert collected.wait(PATIENCE_S)
    assert "vm_answer" in names()


def test_while_an_engine_call_waits_for_the_lock_the_rest_is_served(
    serve: Serve, hanging: Hanging, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    vm = PlainVM()
    served = serve(vm)
    monkeypatch.setattr(monitoring, "LOCK_PATIENCE_S", 0.05)

    def hold() -> None:
        with vm.ctx.lock:
            hanging()

    holder = threading.Thread(target=hold)
    holder.start()
    hanging.wait()
    held = [served.client.GetBlock.start(pb.GetBlockRequest(id=vm.genesis.id)) for _ in range(MANY)]
    assert served.client.Version(Empty()).version
    assert served.client.check_health() == 1
    assert served.client.Gather(Empty()).metric_families
    code, text = refused(lambda: served.client.Health(Empty()))
    assert code is grpc.StatusCode.UNKNOWN
    assert "ctx.lock" in text
    ending = served.client.Shutdown.start(Empty())
    assert served.session.shutdown_begun.wait(PATIENCE_S)
    assert not any(call.done() for call in held)
    hanging.released.set()
    holder.join(PATIENCE_S)
    ending.result(PATIENCE_S)
    # In any order with Shutdown: each has its block, or is told that the chain has ended.
    for call in held:
        error: Any = call.exception(PATIENCE_S)
        assert error is None or error.details() == "the chain is shut down"
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
