"""HTTP: a JSON-RPC method against a bare grpcio handler, and what full HTTP load does to the engine's calls."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc

from benchmarks import contenders
from benchmarks.table import Row, compare, markdown
from vmsdk._pb.http import http_pb2
from vmsdk._pb.http.http_grpc import HTTP
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.node import Host
from vmsdk.rpc.options import SERVER_OPTIONS
from vmsdk.services.channel import CHANNEL_OPTIONS

AT_ONCE = 32
REQUESTS = 3_000
REQUEST_ROUNDS = 7

ENGINE_CALLS = 600
ENGINE_ROUNDS = 5
# Between two engine calls, so that they are a node's and not a load of their own.
ENGINE_PAUSE_S = 0.002
WARM_UP_CALLS = 100

BODY = b'{"jsonrpc":"2.0","id":1,"method":"timestampvm.lastAccepted","params":{}}'
ANSWER = b'{"jsonrpc":"2.0","result":{"id":"%s","height":0},"id":1}' % (b"2" * 50)


def request() -> http_pb2.HandleSimpleHTTPRequest:
    """What a node makes of a client's call of a JSON-RPC method."""

    def elements(**headers: str) -> list[http_pb2.Element]:
        return [http_pb2.Element(key=key.replace("_", "-"), values=[value]) for key, value in headers.items()]

    return http_pb2.HandleSimpleHTTPRequest(
        method="POST",
        url="/ext/bc/2JVSBoinj9C2J33VntvzYtVJNZdN2NKiwwKjcumHUWEb5DbBrm",
        request_headers=elements(
            Accept="*/*",
            Content_Length=str(len(BODY)),
            Content_Type="application/json",
            User_Agent="curl/8.5.0",
        ),
        response_headers=elements(Node_Id="NodeID-7Xhw2mDxuDS44j42TCB6U5579esbSt3Lg", Vary="Origin"),
        body=BODY,
    )


# The floor ------------------------------------------------------------------------------------------


async def serve_bare() -> None:
    """The least that grpcio's asyncio server can do for HandleSimple: prints its address, serves until killed."""
    headers = [http_pb2.Element(key="Content-Type", values=["application/json"])]

    async def handle_simple(request: Any, context: object) -> http_pb2.HandleSimpleHTTPResponse:
        return http_pb2.HandleSimpleHTTPResponse(code=200, headers=headers, body=ANSWER)

    handler = grpc.unary_unary_rpc_method_handler(
        handle_simple, HTTP.HandleSimple.request.FromString, HTTP.HandleSimple.response.SerializeToString
    )
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
    with _this_module("bare", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip()


# Load -----------------------------------------------------------------------------------------------


async def load(address: str, go_on: Callable[[], bool]) -> float:
    """Calls *address*, `AT_ONCE` at a time, while *go_on* says so; how many a second."""
    message, count = request(), 0
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        call: Any = channel.unary_unary(
            HTTP.HandleSimple.path,
            request_serializer=HTTP.HandleSimple.request.SerializeToString,
            response_deserializer=HTTP.HandleSimple.response.FromString,
        )
        response = await call(message)
        assert (response.code, response.body[:26]) == (200, ANSWER[:26]), response
        begun = time.perf_counter()

        async def worker() -> None:
            nonlocal count
            while go_on():
                count += 1
                await call(message)

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        return count / (time.perf_counter() - begun)


def requests_per_second(address: str) -> float:
    left = iter(range(REQUESTS))
    return asyncio.run(load(address, lambda: next(left, None) is not None))


async def load_until_killed(address: str) -> None:
    await load(address, lambda: True)


@contextmanager
def full_load(address: str) -> Iterator[None]:
    """As much HTTP as there is time for, from a process that leaves the processors to the others: a node's
    clients are on other machines."""
    with _this_module("load", address) as process:
        os.setpriority(os.PRIO_PROCESS, process.pid, 19)
        yield


@contextmanager
def _this_module(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.http", *arguments], cwd=contenders.ROOT, **options
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


# The engine -----------------------------------------------------------------------------------------


class Engine:
    """Calls a plugin as the engine does, one call after the other, and notes how long each takes."""

    def __init__(self, host: Host) -> None:
        self._parse = host.client.channel.unary_unary(
            "/vm.VM/ParseBlock",
            request_serializer=pb.ParseBlockRequest.SerializeToString,
            response_deserializer=pb.ParseBlockResponse.FromString,
        )
        self._parsed = 0

    def p99_ms(self) -> float:
        for _ in range(WARM_UP_CALLS):
            self._call_ms()
        return statistics.quantiles((self._call_ms() for _ in range(ENGINE_CALLS)), n=100)[98]

    def _call_ms(self) -> float:
        time.sleep(ENGINE_PAUSE_S)
        self._parsed += 1
        block = bytes(32) + self._parsed.to_bytes(8, "big") + bytes(8) + bytes(32)
        begun = time.perf_counter()
        self._parse(pb.ParseBlockRequest(bytes=block))
        return (time.perf_counter() - begun) * 1e3


def run() -> list[Row]:
    """Measure requests, then the engine beside them."""
    with ExitStack() as stack:
        host = stack.enter_context(Host(contenders.example(), protocol=contenders.PROTOCOL))
        host.chain.end_events()
        address = host.chain.handlers[""]
        bare = stack.enter_context(bare_handler())
        for each in (address, bare):
            requests_per_second(each)
        requests = compare(
            "requests of a JSON-RPC method, beside a bare grpcio handler",
            "/s",
            lambda: requests_per_second(address),
            lambda: requests_per_second(bare),
            goal="at least 0.5",
            rounds=REQUEST_ROUNDS,
        )
        engine = Engine(host)

        def under_load() -> float:
            with full_load(address):
                return engine.p99_ms()

        p99 = compare(
            "p99 of an engine call under full HTTP load, beside the idle one",
            "ms",
            under_load,
            engine.p99_ms,
            goal="at most 3",
            rounds=ENGINE_ROUNDS,
        )
        return [requests, p99]


def main(command: str = "", address: str = "") -> None:
    if command == "bare":
        asyncio.run(serve_bare())
    elif command == "load":
        asyncio.run(load_until_killed(address))
    else:
        print(markdown(run()))


if __name__ == "__main__":
    main(*sys.argv[1:])
