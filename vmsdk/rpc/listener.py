"""The plugin's main server, before it serves anything."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc

from vmsdk.address import Addresses
from vmsdk.rpc.options import SERVER_OPTIONS

# The engine calls one at a time, peers send two messages at a time, a wait or two and a scrape go on
# beside them. Threads are only made when calls overlap.
MAX_THREADS = 32


def bind(addresses: Addresses) -> tuple[grpc.Server, str]:
    """A server that already listens, though it answers only once it is started; and its address.

    The node may connect as soon as it knows the address. Raises what `Addresses.listen` raises.
    """
    pool = ThreadPoolExecutor(max_workers=MAX_THREADS, thread_name_prefix="vmsdk-call")
    server = grpc.server(pool, options=SERVER_OPTIONS)
    return server, addresses.listen(server)
