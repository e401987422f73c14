"""`serve`: the whole life of a plugin process, put together."""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

from vmsdk.errors import VMError
from vmsdk.rpc.listener import bind
from vmsdk.runtime import exits, handshake, logs, version
from vmsdk.runtime.parent import Parent
from vmsdk.runtime.signals import Ending, Signals, exit_now
from vmsdk.vm import ChainVM

if TYPE_CHECKING:
    from vmsdk.rpc.server import VMServer

# The node kills a plugin 5 s after its SIGTERM (vms/rpcchainvm/runtime/subprocess), when it has long
# stopped its own servers. What waits for these is cut off after the first span, calls still in flight
# after the second, and whatever else holds the process up after the third.
CUT_OFF_S = 1.5
GRACE_S = 3.0
LAST_RESORT_S = 4.0


def serve(vm: ChainVM, *, protocol_version: int | None = None, log_level: int | str = logging.INFO) -> None:
    """Run *vm* as a plugin of the node that started this process, until the node ends it.

    *protocol_version* is 35 to 46; by default the newest. *log_level* is of the standard `logging`.

    Must be called on the main thread. Returns when the node has shut the chain down and sent SIGTERM.
    Exits with status 2 and one message on stderr when no node started the process, when the node can't
    be reached, or when it speaks another protocol version.
    """
    logs.open_streams(log_level)
    parent, signals = Parent(), Signals()
    try:
        server = _connect(vm, protocol_version, signals)
        ending = signals.wait_for_end(parent, lambda text: print(f"runtime engine: {text}"))
    except (exits.CannotServe, VMError) as error:
        _give_up(str(error))
    finally:
        parent.close()
    _end(server, ending)
    signals.close()


def _connect(vm: ChainVM, protocol_version: int | None, signals: Signals) -> VMServer:
    """Bind, shake hands, serve: in this order, since the node dials the address that it was told."""
    engine = handshake.engine_address(os.environ, type(vm).__name__)
    protocol = version.choose(protocol_version)
    listener, address = bind()
    greeting = handshake.Handshake(engine, protocol, address)
    # Only now, while the node answers: what serving needs takes as long to import as gRPC itself.
    from vmsdk.rpc.server import VMServer

    server = VMServer(vm, protocol, listener, on_shutdown=signals.allow_shutdown)
    greeting.wait()
    server.start()
    return server


def _end(server: VMServer, ending: Ending) -> None:
    session = server.session
    for delay_s, action in ((CUT_OFF_S, session.cut_off), (LAST_RESORT_S, lambda: exit_now(0))):
        timer = threading.Timer(delay_s, action)
        timer.daemon = True
        timer.start()
    if ending is Ending.ORPHANED:
        from vmsdk.runtime import orphan

        session.log.error("%s: the chain is shut down", ending.value)
        if not orphan.shut_down(session.shutdown):
            session.log.error("the VM's shutdown does not end: the process is left")
            exit_now(1)
    server.stop(0 if ending is Ending.ORPHANED else GRACE_S)
    print("vm server: graceful termination success", flush=True)


def _give_up(message: str) -> NoReturn:
    print(f"vmsdk: {message}", file=sys.stderr, flush=True)
    sys.exit(exits.USAGE_STATUS)
