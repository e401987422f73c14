"""Traces over the wire, to a collector that speaks OTLP."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

import vmsdk
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.rpc import tracing

from .conftest import Serve, Served
from .plainvm import PlainBlock, PlainVM, encode

PATIENCE_S = 60


class Collector(TraceServiceServicer):
    """Keeps what it receives."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []
        self.asked = threading.Event()
        self.responds = threading.Event()
        self.responds.set()
        self.refuses = False

    def Export(self, request: Any, context: Any) -> Any:
        self.asked.set()
        self.responds.wait(PATIENCE_S)
        if self.refuses:
            # One of the codes that the exporter doesn't repeat, with pauses of up to 16 s.
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "no spans, please")
        for resource in request.resource_spans:
            self.resources.append(values(resource.resource.attributes))
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return otlp.ExportTraceServiceResponse()

    def named(self, name: str) -> Any:
        """The only span with this name."""
        [span] = [each for each in self.spans if each.name == name]
        return span


def values(attributes: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in attributes}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Collector, str]]:
    """A collector, and its address."""
    for name in ("FLUSH_S", "EXPORT_TIMEOUT_S"):
        monkeypatch.setattr(tracing, name, PATIENCE_S)
    server = grpc.server(ThreadPoolExecutor(2))
    kept = Collector()
    add_TraceServiceServicer_to_server(kept, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield kept, f"http://127.0.0.1:{port}"
    server.stop(None).wait()


class TracedBlock(PlainBlock):
    joined: list[int]

    def verify(self) -> None:
        assert self.vm is not None
        self.vm.ctx.db.put(b"verified", self.raw)
        self.joined.append(trace.get_current_span().get_span_context().trace_id)


class TracedVM(PlainVM):
    def __init__(self) -> None:
        super().__init__()
        self.joined: list[int] = []

    def parse_block(self, data: bytes) -> PlainBlock:
        if data == b"garbage":
            raise vmsdk.InvalidBlock("not a block")
        plain = super().parse_block(data)
        block = TracedBlock(plain.parent_id, plain.height, plain.body, vm=self)
        block.joined = self.joined
        return block


def run_a_block(served: Served) -> bytes:
    """Parse, verify and accept a block; returns its ID."""
    client = served.client
    data = encode(served.vm.last_accepted(), 1)
    parsed = client.ParseBlock(pb.ParseBlockRequest(bytes=data))
    client.BlockVerify(pb.BlockVerifyRequest(bytes=data))
    client.BlockAccept(pb.BlockAcceptRequest(id=parsed.id))
    return parsed.id


def test_a_blocks_calls_are_in_one_trace_whose_id_is_the_blocks(
    serve: Serve, collector: tuple[Collector, str]
) -> None:
    kept, address = collector
    vm = TracedVM()
    served = serve(vm)
    served.session.trace_to(address, 1.0)
    block_id = run_a_block(served)
    served.session.trace_to(None, 1.0)
    for name in ("ParseBlock", "BlockVerify", "BlockAccept"):
        span = kept.named(name)
        assert span.trace_id == block_id[:16]
        assert values(span.attributes)["vmsdk.block_id"] == str(vmsdk.ID(block_id))
        assert span.end_time_unix_nano > span.start_time_unix_nano
    # The VM's own spans join it.
    assert vm.joined == [int.from_bytes(block_id[:16], "big")]
    verify, put = kept.named("BlockVerify"), kept.named("database Put")
    assert (put.trace_id, put.parent_span_id) == (verify.trace_id, verify.span_id)
    assert verify.start_time_unix_nano <= put.start_time_unix_nano <= put.end_time_unix_nano
    assert kept.resources[0]["service.version"] == str(vm.version)


def test_a_call_that_fails_has_its_error_and_one_without_a_block_a_trace_of_its_own(
    serve: Serve, collector: tuple[Collector, str]
) -> None:
    kept, address = collector
    served = serve(TracedVM())
    served.session.trace_to(address, 1.0)
    with pytest.raises(grpc.RpcError):
        served.client.ParseBlock(pb.ParseBlockRequest(bytes=b"garbage"))
    served.client.Health(Empty())
    served.session.trace_to(None, 1.0)
    failed, health = kept.named("ParseBlock"), kept.named("Health")
    assert (failed.status.code, failed.status.message) == (2, "not a block")
    assert health.status.code == 0
    assert health.trace_id != failed.trace_id


def test_nothing_is_sent_while_tracing_is_off_or_the_ratio_is_zero(
    serve: Serve, collector: tuple[Collector, str]
) -> None:
    kept, address = collector
    served = serve(TracedVM())
    run_a_block(served)
    served.session.trace_to(address, 0)
    served.client.Health(Empty())
    served.session.trace_to(None, 1.0)
    assert kept.spans == []


def test_a_collector_that_does_not_respond_stops_no_call_nor_the_end(
    serve: Serve, collector: tuple[Collector, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, address = collector
    kept.responds.clear()
    monkeypatch.setattr(tracing, "FLUSH_S", 0.1)
    served = serve(TracedVM())
    served.session.trace_to(address, 1.0)
    try:
        run_a_block(served)
        served.session.trace_to(None, 1.0)  # at the plugin's end as well
        assert any(thread.name == "vmsdk-tracing" for thread in threading.enumerate())  # it wasn't waited for
        assert kept.asked.wait(PATIENCE_S)
        assert not kept.spans
        served.client.Health(Empty())
    finally:
        kept.responds.set()
    _wait_for_exporters()


def test_a_collector_that_refuses_fails_no_call(
    serve: Serve, collector: tuple[Collector, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "opentelemetry")
    kept, address = collector
    kept.refuses = True
    served = serve(TracedVM())
    served.session.trace_to(address, 1.0)
    run_a_block(served)
    served.session.trace_to(None, 1.0)
    assert kept.asked.is_set()
    assert not kept.spans


def test_a_collector_that_is_down_fails_no_call(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.CRITICAL, "opentelemetry")
    monkeypatch.setattr(tracing, "EXPORT_TIMEOUT_S", 0.5)  # less than the pause before a second attempt
    served = serve(TracedVM())
    served.session.trace_to("http://127.0.0.1:1", 1.0)
    run_a_block(served)
    served.session.trace_to(None, 1.0)
    _wait_for_exporters()


def _wait_for_exporters() -> None:
    for thread in threading.enumerate():
        if thread.name == "vmsdk-tracing":
            thread.join(PATIENCE_S)  # the exporter logs its failure when it gives up, in whatever test runs
            assert not thread.is_alive()
