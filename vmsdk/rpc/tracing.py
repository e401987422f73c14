"""Traces of a chain's calls, sent to an OpenTelemetry collector (extra `otel`)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from time import perf_counter, time_ns
from typing import Any

from vmsdk._version import __version__
from vmsdk.errors import VMError
from vmsdk.ids import ID
from vmsdk.rpc.blockmemory import BlockMemory
from vmsdk.services.databasemetrics import RECORDED_CALLS, RecordedCall

# A node gives a plugin 5 s to exit, and a collector may be down.
FLUSH_S = 1.0
EXPORT_TIMEOUT_S = 5.0

_log = logging.getLogger("vmsdk.tracing")


class Tracer:
    """Makes the spans of one chain's RPCs, database calls and HTTP requests.

    All spans about one block are in one trace, on all nodes: its ID is the first 16 bytes of the
    block's. Spans that the VM's own code makes during such a call join it, if the block is known
    when the call begins.
    """

    def __init__(
        self, endpoint: str, ratio: float, blocks: BlockMemory, attributes: Mapping[str, str]
    ) -> None:
        """*endpoint* is the collector's gRPC address, such as `http://127.0.0.1:4317`. Of all
        traces, *ratio* are sent. *attributes* describe this process.

        Raises `VMError` without the extra.
        """
        try:
            from opentelemetry import context, trace
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
        except ImportError as error:
            raise VMError(f"{error}: install the extra with pip install 'vmsdk[otel]'") from None
        self._api: Any = trace
        self._context: Any = context
        self._blocks = blocks
        self._provider = TracerProvider(
            sampler=TraceIdRatioBased(ratio),
            resource=Resource.create(dict(attributes)),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(
            endpoint=endpoint, insecure=not endpoint.startswith("https:"), timeout=EXPORT_TIMEOUT_S
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("vmsdk", __version__)
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            trace.set_tracer_provider(self._provider)  # for the VM's own spans

    def close(self) -> None:
        """Send the remaining spans, for at most `FLUSH_S` seconds."""
        closing = threading.Thread(target=self._provider.shutdown, name="vmsdk-tracing", daemon=True)
        closing.start()
        closing.join(FLUSH_S)

    def call(self, name: str, work: Callable[[Any, Any], Any], request: Any, context: Any) -> Any:
        """Run *work*, the method *name*, and make its span."""
        calls: list[RecordedCall] = []
        recording = RECORDED_CALLS.set(calls)
        block_id = self._block_id(request)
        joined = self._context.attach(self._parent(block_id)) if block_id else None
        began_s, response = perf_counter(), None
        try:
            response = work(request, context)
            return response
        finally:
            ended_s = perf_counter()
            RECORDED_CALLS.reset(recording)
            if joined is not None:
                self._context.detach(joined)
            block_id = block_id or _id(getattr(response, "id", b"")) or self._block_id(request)
            attributes: dict[str, Any] = {"rpc.system": "grpc", "rpc.service": "vm.VM", "rpc.method": name}
            if block_id:
                attributes["vmsdk.block_id"] = str(ID(block_id))
            if height := getattr(response, "height", 0):
                attributes["vmsdk.block_height"] = height
            failure = None if response is not None else _details(context)
            self.emit(name, began_s, ended_s, attributes, calls, block_id=block_id, failure=failure)

    def emit(
        self,
        name: str,
        began_s: float,
        ended_s: float,
        attributes: Mapping[str, Any],
        calls: list[RecordedCall],
        *,
        block_id: bytes = b"",
        failure: str | None = None,
    ) -> None:
        """Make the span of work that has ended, and those of the database *calls* in it.

        Times are `perf_counter`'s. Failures are logged.
        """
        try:
            offset_ns = time_ns() - int(perf_counter() * 1e9)

            def at_ns(moment_s: float) -> int:
                return offset_ns + int(moment_s * 1e9)

            trace = self._api
            span = self._tracer.start_span(
                name,
                self._parent(block_id),
                kind=trace.SpanKind.SERVER,
                attributes=dict(attributes),
                start_time=at_ns(began_s),
            )
            if failure is not None:
                span.set_status(trace.Status(trace.StatusCode.ERROR, failure))
            if span.is_recording():
                inside = trace.set_span_in_context(span)
                for path, call_began_s, call_ended_s in calls:
                    child = self._tracer.start_span(
                        f"database {path.rpartition('/')[2]}",
                        inside,
                        kind=trace.SpanKind.CLIENT,
                        start_time=at_ns(call_began_s),
                    )
                    child.end(at_ns(call_ended_s))
            span.end(at_ns(ended_s))
        except Exception:  # noqa: BLE001 - a trace must not make a call fail
            _log.exception("a span was lost")

    def _parent(self, block_id: bytes) -> Any:
        """The context whose spans are in the trace of a block, or in a new one."""
        if not block_id:
            return self._context.Context()
        trace = self._api
        root = trace.SpanContext(
            int.from_bytes(block_id[:16], "big"),
            int.from_bytes(block_id[16:24], "big"),
            is_remote=True,
            trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
        )
        return trace.set_span_in_context(trace.NonRecordingSpan(root), self._context.Context())

    def _block_id(self, request: Any) -> bytes:
        data = getattr(request, "bytes", b"")
        return self._blocks.parsed_id(data) if data else _id(getattr(request, "id", b""))


def _id(value: object) -> bytes:
    return value if isinstance(value, bytes) and len(value) == ID.LENGTH else b""


def _details(context: Any) -> str:
    text = context.details() or b""
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
