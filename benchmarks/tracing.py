"""What traces cost: block cycles with them, all sent to a collector, beside none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc

from benchmarks import contenders
from benchmarks.engine import Contender
from benchmarks.table import Row, compare, markdown

_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class _Collector(grpc.GenericRpcHandler):
    """Receives spans, and drops them."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:  # type: ignore[type-arg]
        if handler_call_details.method != _EXPORT:
            return None
        return grpc.unary_unary_rpc_method_handler(lambda request, context: b"")


def run() -> list[Row]:
    """Measure both side by side."""
    with ExitStack() as stack:
        server = grpc.server(ThreadPoolExecutor(1))
        server.add_generic_rpc_handlers((_Collector(),))
        address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        stack.callback(server.stop, None)
        code = f"import os; os.environ['OTEL_EXPORTER_OTLP_ENDPOINT'] = {address!r}; "
        ours = Contender(contenders.example(code), stack)
        floor = Contender(contenders.example(), stack)
        for contender in (ours, floor):
            contender.cycles_per_second()
        return [
            compare(
                "whole block cycles with every trace sent vs. none",
                "/s",
                ours.cycles_per_second,
                floor.cycles_per_second,
            )
        ]


if __name__ == "__main__":
    print(markdown(run()))
