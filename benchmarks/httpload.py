"""As much HTTP as a plugin can serve, as a node forwards it: from this process or another one.

`python -m benchmarks.httpload KIND ADDRESS` prints a line when it has begun, and its requests
per second at SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import grpc

from benchmarks import contenders
from vmsdk._pb.http import http_pb2
from vmsdk._pb.http.http_grpc import HTTP
from vmsdk.services.channel import CHANNEL_OPTIONS

AT_ONCE = 32

BODY = b'{"jsonrpc":"2.0","id":1,"method":"timestampvm.lastAccepted","params":{}}'
CHAIN_PATH = "/ext/bc/2JVSBoinj9C2J33VntvzYtVJNZdN2NKiwwKjcumHUWEb5DbBrm"


def _request(method: str, path: str, body: bytes = b"") -> http_pb2.HandleSimpleHTTPRequest:
    """What a node makes of a client's request."""

    def elements(**headers: str) -> list[http_pb2.Element]:
        return [http_pb2.Element(key=key.replace("_", "-"), values=[value]) for key, value in headers.items()]

    content = {"Content_Length": str(len(body)), "Content_Type": "application/json"} if body else {}
    return http_pb2.HandleSimpleHTTPRequest(
        method=method,
        url=CHAIN_PATH + path,
        request_headers=elements(Accept="*/*", User_Agent="curl/8.5.0", **content),
        response_headers=elements(Node_Id="NodeID-7Xhw2mDxuDS44j42TCB6U5579esbSt3Lg", Vary="Origin"),
        body=body,
    )


REQUESTS = {
    "json-rpc": _request("POST", "", BODY),
    "fastapi-def": _request("GET", "/api/blocks/last"),
    "fastapi-async": _request("GET", "/api/openapi.json"),
    "snapshot": _request("GET", "/api/accounts/" + 20 * "00"),
}
"""By kind: a method of the timestamp example; an endpoint of the feed example that runs in a
thread; one on the event loop; one of the tokens example that reads two snapshots.
"""


async def load(
    kind: str, address: str, go_on: Callable[[], bool], on_begin: Callable[[], None] = lambda: None
) -> float:
    """Call *address*, `AT_ONCE` at a time, while *go_on* is true. Returns requests a second."""
    message, count = REQUESTS[kind], 0
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        call: Any = HTTP.HandleSimple.on(channel)
        response = await call(message)
        assert response.code == 200, response
        on_begin()
        begun = perf_counter()

        async def worker() -> None:
            nonlocal count
            while go_on():
                await call(message)
                count += 1

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        return count / (perf_counter() - begun)


class FullLoad:
    """As much HTTP as there is time for, from a separate process with the lowest priority.

    A node's clients are on other machines, and take no CPU time from it.
    """

    def __init__(self, kind: str, address: str) -> None:
        self._command = [sys.executable, "-m", "benchmarks.httpload", kind, address]
        self.rates: list[float] = []
        """Requests per second, for each time it ran."""

    @contextmanager
    def run(self) -> Iterator[None]:
        with subprocess.Popen(self._command, cwd=contenders.ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                process.stdout.readline()  # It has begun.
                yield
            finally:
                process.send_signal(signal.SIGTERM)
                output, _ = process.communicate()
        self.rates.append(float(output))


async def _until_terminated(kind: str, address: str) -> float:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    return await load(kind, address, lambda: not ended.is_set(), lambda: print("begun", flush=True))


def main(kind: str, address: str) -> None:
    if sys.platform == "linux":
        import os

        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    print(asyncio.run(_until_terminated(kind, address)))


if __name__ == "__main__":
    main(*sys.argv[1:])
