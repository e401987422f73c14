"""The cost of checking which user calls, for a plugin that listens on TCP."""

from __future__ import annotations

import os
import socket
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter

from benchmarks import contenders
from benchmarks.table import Row, compare, markdown, per_second
from vmsdk.host.node import Host
from vmsdk.rpc.peercheck import PeerCheck

CALLS = 400
LOOKS = 200
CONNECTIONS = 1_000
SERVE = (
    "import sys; sys.path.insert(0, sys.argv[1]); import timestampvm, vmsdk; "
    "vmsdk.serve(timestampvm.TimestampVM(), protocol_version=int(sys.argv[2]), transport=sys.argv[3])"
)


def run() -> list[Row]:
    """Measure calls of plugins with each transport, and the look at the system's table."""
    rows = []
    with ExitStack() as stack:
        checked, unchecked, unix = (_calls(stack, each) for each in ("tcp", "tcp-any-user", "unix"))
        rows.append(compare("calls over TCP, the user checked vs. no check", "/s", checked, unchecked))
        rows.append(compare("calls over TCP, the user checked vs. a Unix socket", "/s", checked, unix))
    if sys.platform.startswith("linux"):
        for others in (0, CONNECTIONS):
            with _connections(others) as (port, peer):
                took_ms = _look_ms(PeerCheck(port, frozenset()), peer)
            rows.append(
                Row(f"finding the user, {others:,} other connections (once a second)", took_ms, 0, "ms", 0)
            )
    return rows


def _calls(stack: ExitStack, transport: str) -> Callable[[], float]:
    folder = str(contenders.ROOT / "examples" / "timestamp")
    command = [sys.executable, "-c", SERVE, folder, str(contenders.PROTOCOL), transport]
    host = stack.enter_context(Host(command, protocol=contenders.PROTOCOL))
    host.chain.end_events()

    def work() -> None:
        for _ in range(CALLS):
            host.chain.version()

    return lambda: per_second(work, CALLS)


@contextmanager
def _connections(count: int) -> Iterator[tuple[int, str]]:
    """A server's port with *count* connections, and gRPC's name for one more."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=count + 1))
        for _ in range(count + 1):
            client = stack.enter_context(socket.create_connection(listener.getsockname()))
        yield listener.getsockname()[1], f"ipv4:127.0.0.1:{client.getsockname()[1]}"


def _look_ms(check: PeerCheck, peer: str) -> float:
    took = []
    for _ in range(LOOKS):
        begun_s = perf_counter()
        assert check.owner(peer) == os.geteuid()
        took.append((perf_counter() - begun_s) * 1_000)
    return statistics.median(took)


if __name__ == "__main__":
    print(markdown(run()))
