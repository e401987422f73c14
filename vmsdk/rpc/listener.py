"""The gRPC servers of a plugin: where they listen, and which of two kinds serves."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeAlias

from vmsdk.address import Addresses
from vmsdk.rpc.peercheck import peer_check

if TYPE_CHECKING:
    from vmsdk.rpc.pollserver import PollServer
    from vmsdk.rpc.publicserver import PublicServer

# A node passes on its GRPC_* variables to its plugins, and no others.
SERVER_VARIABLE = "GRPC_VMSDK_SERVER"
PUBLIC = "public"

RESERVED_THREADS = 3
"""One for each reserved lane of `vm.VM` (`vmsdk.rpc.server`)."""

_NOTHING = nullcontext()

_log = logging.getLogger("vmsdk.rpc")

Server: TypeAlias = "PollServer | PublicServer"


def bind(addresses: Addresses) -> tuple[Server, str]:
    """A server that listens already, and its address. Once it is started, it serves calls.

    Raises what `Addresses.listen` raises, and `RuntimeError` if no thread can be started.
    """
    server = make_server(reserved=RESERVED_THREADS)
    try:
        return server, listen(server, addresses)
    except BaseException:
        server.stop(None)
        raise


def listen(server: Server, addresses: Addresses) -> str:
    """Make *server* listen at a new address and refuse other users' calls. Returns the address."""
    address = addresses.listen(server)
    server.peers = peer_check(address, addresses.transport)
    return address


def make_server(*, reserved: int = 0, around: AbstractContextManager[object] = _NOTHING) -> Server:
    """A server with *reserved* threads for reserved lanes. It enters *around* to run a method.

    grpcio's where the faster one is not available, or if GRPC_VMSDK_SERVER=public is in the
    environment.
    """
    if os.environ.get(SERVER_VARIABLE) == PUBLIC:
        _log.info("%s=%s: gRPC is served by grpcio's own server", SERVER_VARIABLE, PUBLIC)
    elif sys.platform != "linux":
        _log.info("gRPC is served by grpcio's own server: the faster one needs Linux")
    else:
        from vmsdk.rpc.pollserver import PollServer

        return PollServer(reserved=reserved, around=around)
    from vmsdk.rpc.publicserver import PublicServer

    return PublicServer(around)
