"""The port of the plugin's main server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc

from vmsdk.rpc.options import SERVER_OPTIONS

# The engine calls one at a time, peers send two messages at a time, a wait or two and a scrape go on
# beside them. Threads are only made when calls overlap.
MAX_THREADS = 32


def bind(address: str = "127.0.0.1:0") -> tuple[grpc.Server, str]:
    """A server that already listens, though it answers only once it is started; and its address.

    The node may connect as soon as it has been told the address. Raises `RuntimeError` when the
    address can't be bound.
    """
    pool = ThreadPoolExecutor(max_workers=MAX_THREADS, thread_name_prefix="vmsdk-call")
    server = grpc.server(pool, options=SERVER_OPTIONS)
    port = server.add_insecure_port(address)
    return server, f"{address.rpartition(':')[0]}:{port}"
