"""HTTP: a JSON-RPC method against a bare grpcio handler, and what full HTTP load does to the
engine's calls.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter, sleep
from typing import Any

import grpc

from benchmarks import contenders
from benchmarks.httpload import FullLoad, load
from benchmarks.table import Row, compare, markdown
from vmsdk._pb.http import http_pb2
from vmsdk._pb.http.http_grpc import HTTP
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.node import Host
from vmsdk.rpc.publicserver import SERVER_OPTIONS

REQUESTS = 3_000
REQUEST_ROUNDS = 7

ENGINE_CALLS = 600
# The idle p99 alone varies by half from round to round.
ENGINE_ROUNDS = 9
# Between two engine calls, as with a node: without pauses, they would be a load themselves.
ENGINE_PAUSE_S = 0.002
WARM_UP_CALLS = 100

ANSWER = b'{"jsonrpc":"2.0","result":{"id":"%s","height":0},"id":1}' % (b"2" * 50)


# The floor ----------------------------------------------------------------------------------------


async def serve_bare() -> None:
    """The least that grpcio's asyncio server can do for HandleSimple: prints its address, serves
    until killed.
    """
    headers = [http_pb2.Element(key="Content-Type", values=["application/json"])]

    async def handle_simple(request: Any, context: object) -> http_pb2.HandleSimpleHTTPResponse:
        return http_pb2.HandleSimpleHTTPResponse(code=200, headers=headers, body=ANSWER)

    handler = HTTP.HandleSimple.handler(handle_simple)
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(HTTP.full_name, {"HandleSimple": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


@contextmanager
def bare_handler() -> Iterator[str]:
    """That server as a process of its own; its address."""
    command = [sys.executable, "-m", "benchmarks.http", "bare"]
    with subprocess.Popen(command, cwd=contenders.ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode().strip()
        finally:
            process.kill()


def requests_per_second(address: str) -> float:
    left = iter(range(REQUESTS))
    return asyncio.run(load("json-rpc", address, lambda: next(left, None) is not None))


# The engine ---------------------------------------------------------------------------------------


class Engine:
    """Calls a plugin as the engine does, one call after the other, and times each."""

    def __init__(self, host: Host) -> None:
        self._parse = host.client.channel.unary_unary(
            "/vm.VM/ParseBlock",
            request_serializer=pb.ParseBlockRequest.SerializeToString,
            response_deserializer=pb.ParseBlockResponse.FromString,
        )
        self._block = pb.ParseBlockRequest(bytes=host.chain.last_accepted.raw)

    def p99_ms(self) -> float:
        for _ in range(WARM_UP_CALLS):
            self._call_ms()
        return statistics.quantiles((self._call_ms() for _ in range(ENGINE_CALLS)), n=100)[98]

    def _call_ms(self) -> float:
        sleep(ENGINE_PAUSE_S)
        begun = perf_counter()
        self._parse(self._block)
        return (perf_counter() - begun) * 1e3


@contextmanager
def chain(command: Sequence[str]) -> Iterator[Host]:
    with Host(command, protocol=contenders.PROTOCOL, genesis=b"hello, world") as host:
        host.chain.end_events()
        yield host


def under_load(name: str, kind: str, host: Host) -> Iterator[Row]:
    """How full load of a *kind* slows down the engine's calls, and how many requests it served."""
    engine = Engine(host)
    [address] = host.chain.handlers.values()
    full_load = FullLoad(kind, address)

    def loaded_ms() -> float:
        with full_load.run():
            return engine.p99_ms()

    yield compare(
        f"p99 of an engine call under full load of {name} vs. the idle one",
        "ms",
        loaded_ms,
        engine.p99_ms,
        goal="at most 3",
        rounds=ENGINE_ROUNDS,
    )
    yield Row(f"requests of {name} at the same time", statistics.median(full_load.rates), 0, "/s", 0)


def run() -> list[Row]:
    """Measure requests, then the engine beside them."""
    rows = []
    with chain(contenders.example()) as host:
        [address] = host.chain.handlers.values()
        with bare_handler() as bare:
            for each in (address, bare):
                requests_per_second(each)
            rows.append(
                compare(
                    "requests of a JSON-RPC method vs. a bare grpcio handler",
                    "/s",
                    lambda: requests_per_second(address),
                    lambda: requests_per_second(bare),
                    goal="at least 1.0",
                    rounds=REQUEST_ROUNDS,
                )
            )
        rows += under_load("a JSON-RPC method", "json-rpc", host)
    with chain(contenders.feed()) as host:
        rows += under_load("a FastAPI endpoint in a thread", "fastapi-def", host)
        rows += under_load("a FastAPI endpoint on the event loop", "fastapi-async", host)
    return rows


if __name__ == "__main__":
    if sys.argv[1:] == ["bare"]:
        asyncio.run(serve_bare())
    else:
        print(markdown(run()))
