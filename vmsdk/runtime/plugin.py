"""The whole life of a plugin process, put together."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from vmsdk.address import Addresses
from vmsdk.errors import VMError
from vmsdk.runtime import exits, logs
from vmsdk.runtime.engine import INSTALL_COMMAND, engine_address
from vmsdk.runtime.parent import Parent
from vmsdk.runtime.signals import Ending, Signals
from vmsdk.runtime.version import VersionChoice

# gRPC is imported when the node has been asked for its version, not here: that takes as long as the answer.
if TYPE_CHECKING:
    from vmsdk.address import Transport
    from vmsdk.protocol import Protocol
    from vmsdk.rpc.server import VMServer
    from vmsdk.vm import ChainVM

# The node kills a plugin 5 s after its SIGTERM (vms/rpcchainvm/runtime/subprocess), when it has long
# stopped its own servers. What waits for these is cut off after the first span, calls still in flight
# after the second, and whatever else holds the process up after the third.
CUT_OFF_S = 1.5
GRACE_S = 3.0
LAST_RESORT_S = 4.0


class AlreadyServing(VMError):
    """`serve` was called by code that is only being imported, or twice at a time."""

    def __init__(self) -> None:
        super().__init__(
            "serve() was called in a process that serves already. If the call is at the top level "
            "of the VM's "
            'module, which is imported, put it below: if __name__ == "__main__":'
        )


class Options(NamedTuple):
    """How to be a plugin."""

    name: str
    """What the VM is called until it is loaded."""
    protocol_version: int | None = None
    """The one to speak, 35 to 46; None to let the node say."""
    ask_parent: bool = True
    """Whether to ask the node, if no version is given."""
    log_level: int | str = logging.INFO
    install_command: str = INSTALL_COMMAND
    """What a person types to install the VM, but for the protocol version."""
    transport: Transport = "auto"
    """How the node reaches the VM: see `vmsdk.address`."""


_is_started = False


def run(load: Callable[[], ChainVM], options: Options) -> None:
    """Be the plugin whose VM *load* makes after the handshake, so that its imports can't be late for it.

    When *load* raises, the log gets the traceback, and the node the error as the answer to its first call.
    What else happens `vmsdk.serve.serve` tells. Raises `AlreadyServing`.
    """
    global _is_started  # noqa: PLW0603 - one process serves one chain, whoever starts it
    if _is_started:
        raise AlreadyServing
    _is_started = True
    try:
        if len(sys.argv) != 2 or not _said_version(load, options.protocol_version):
            _serve(load, options)
    finally:
        _is_started = False


def _said_version(load: Callable[[], ChainVM], protocol_version: int | None) -> bool:
    from vmsdk.runtime import pluginversion

    try:
        return pluginversion.say(sys.argv[1:], load, protocol_version)
    except VMError as error:
        _give_up(str(error))


def _serve(load: Callable[[], ChainVM], options: Options) -> None:
    logs.open_streams(options.log_level)
    parent, signals = Parent(), Signals()
    with ExitStack() as cleanup:
        cleanup.callback(parent.close)
        try:
            addresses = Addresses(options.transport)
            cleanup.callback(addresses.close)
            with _start_without_collections():
                server = _connect(load, options, parent, signals, addresses)
            ending = signals.wait_for_end(parent, lambda text: print(f"runtime engine: {text}"))
        except (exits.CannotServe, VMError) as error:
            signals.ignore()
            _give_up(str(error))
        _end(server, ending, addresses)
    signals.close()


@contextmanager
def _start_without_collections() -> Iterator[None]:
    """No garbage collection meanwhile: importing makes hardly any garbage, and many objects to look through.

    What was imported by then is never looked through again, which later makes the collections shorter.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()


def _connect(
    load: Callable[[], ChainVM], options: Options, parent: Parent, signals: Signals, addresses: Addresses
) -> VMServer:
    """Bind, shake hands, load, serve: in this order, since the node dials the address that it was told."""
    engine = engine_address(os.environ, options.name, options.install_command)
    protocol = _protocol(engine, options)
    from vmsdk.rpc.listener import bind
    from vmsdk.runtime.handshake import Handshake

    listener, address = bind(addresses)
    greeting = Handshake(engine, protocol, address, options.install_command)
    # Only now, while the node answers: what serving needs takes as long to import as gRPC itself.
    from vmsdk.rpc.server import VMServer
    from vmsdk.runtime import loading

    greeting.wait()
    vm = loading.load(load, options.name, parent, lambda: _leave(addresses, 1))
    server = VMServer(vm, protocol, listener, addresses=addresses, on_shutdown=signals.allow_shutdown)
    server.start()
    addresses.remove_stale()
    return server


def _protocol(engine: str, options: Options) -> Protocol:
    choice = VersionChoice(options.protocol_version, engine=engine, ask=options.ask_parent)
    try:
        if choice.is_open:
            # Imported a moment later anyhow: why not while the node gives its answer.
            import vmsdk.rpc.server
            import vmsdk.runtime.handshake  # noqa: F401
        return choice.settle()
    finally:
        choice.close()


def _end(server: VMServer, ending: Ending, addresses: Addresses) -> None:
    session = server.session
    for delay_s, action in ((CUT_OFF_S, session.cut_off), (LAST_RESORT_S, lambda: _leave(addresses, 0))):
        timer = threading.Timer(delay_s, action)
        timer.daemon = True
        timer.start()
    if ending is Ending.ORPHANED:
        from vmsdk.runtime import orphan

        session.log.error("%s: the chain is shut down", ending.value)
        if not orphan.shut_down(session.shutdown):
            session.log.error("the VM's shutdown does not end: the process is left")
            _leave(addresses, 1)
    server.stop(0 if ending is Ending.ORPHANED else GRACE_S)
    print("vm server: graceful termination success", flush=True)


def _leave(addresses: Addresses, status: int) -> None:
    """End the process without waiting for any thread."""
    addresses.close()
    os._exit(status)


def _give_up(message: str) -> NoReturn:
    print(f"vmsdk: {message}", file=sys.stderr, flush=True)
    sys.exit(exits.USAGE_STATUS)
