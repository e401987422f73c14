"""`serve`: the whole life of a plugin process, put together."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from vmsdk.errors import VMError
from vmsdk.runtime import exits, logs
from vmsdk.runtime.engine import INSTALL_COMMAND, engine_address
from vmsdk.runtime.parent import Parent
from vmsdk.runtime.signals import Ending, Signals, exit_now
from vmsdk.runtime.version import VersionChoice

# gRPC is imported when the node has been asked for its version, not here: that takes as long as the answer.
if TYPE_CHECKING:
    from vmsdk.rpc.server import VMServer
    from vmsdk.vm import ChainVM

# The node kills a plugin 5 s after its SIGTERM (vms/rpcchainvm/runtime/subprocess), when it has long
# stopped its own servers. What waits for these is cut off after the first span, calls still in flight
# after the second, and whatever else holds the process up after the third.
CUT_OFF_S = 1.5
GRACE_S = 3.0
LAST_RESORT_S = 4.0


def serve(
    vm: ChainVM,
    *,
    protocol_version: int | None = None,
    ask_parent: bool = True,
    log_level: int | str = logging.INFO,
) -> None:
    """Run *vm* as a plugin of the node that started this process, until the node ends it.

    *protocol_version* is 35 to 46. By default the node is asked, by running its executable with
    `--version`, unless *ask_parent* is false; if it can't be, the newest is taken. *log_level* is of the
    standard `logging`.

    Must be called on the main thread, and before anything else uses gRPC. Returns when the node has shut
    the chain down and sent SIGTERM. Exits with status 2 and one message on stderr when no node started the
    process, when the node can't be reached, or when it speaks another protocol version.

    With `--version` or `--version-json` as the process's only argument, prints that and returns.
    """
    if len(sys.argv) == 2 and _said_version(vm, protocol_version):
        return
    _run(
        lambda parent: vm,
        name=type(vm).__name__,
        protocol_version=protocol_version,
        ask_parent=ask_parent,
        log_level=log_level,
        install_command=INSTALL_COMMAND,
    )


def serve_later(
    load: Callable[[], ChainVM],
    *,
    name: str,
    protocol_version: int | None = None,
    ask_parent: bool = True,
    log_level: int | str = logging.INFO,
    install_command: str = INSTALL_COMMAND,
) -> None:
    """Like `serve`, with a VM that *load* makes after the handshake: so its imports can't be late for it.

    When *load* raises, the log gets the traceback, and the node the error as the answer to its first
    call. *name* is what the VM is called until then; *install_command* what a person types to have it
    started with another protocol version.
    """

    def load_for(parent: Parent) -> ChainVM:
        from vmsdk.runtime import loading

        return loading.load(load, name, parent)

    _run(
        load_for,
        name=name,
        protocol_version=protocol_version,
        ask_parent=ask_parent,
        log_level=log_level,
        install_command=install_command,
    )


def _said_version(vm: ChainVM, protocol_version: int | None) -> bool:
    from vmsdk.runtime import pluginversion

    try:
        return pluginversion.say(sys.argv[1:], lambda: vm, protocol_version)
    except VMError as error:
        _give_up(str(error))


def _run(
    load: Callable[[Parent], ChainVM],
    *,
    name: str,
    protocol_version: int | None,
    ask_parent: bool,
    log_level: int | str,
    install_command: str,
) -> None:
    logs.open_streams(log_level)
    parent, signals = Parent(), Signals()
    try:
        engine = engine_address(os.environ, name, install_command)
        choice = VersionChoice(protocol_version, engine=engine, ask=ask_parent)
        server = _connect(engine, choice, lambda: load(parent), signals, install_command)
        ending = signals.wait_for_end(parent, lambda text: print(f"runtime engine: {text}"))
    except (exits.CannotServe, VMError) as error:
        _give_up(str(error))
    finally:
        parent.close()
    _end(server, ending)
    signals.close()


def _connect(
    engine: str,
    choice: VersionChoice,
    load: Callable[[], ChainVM],
    signals: Signals,
    install_command: str,
) -> VMServer:
    """Bind, shake hands, load, serve: in this order, since the node dials the address that it was told."""
    try:
        from vmsdk.rpc.listener import bind
        from vmsdk.runtime.handshake import Handshake

        if choice.is_open:
            import vmsdk.rpc.server  # noqa: F401 - there is time, and the node waits for it next
        protocol = choice.settle()
    finally:
        choice.close()
    listener, address = bind()
    greeting = Handshake(engine, protocol, address, install_command)
    # Only now, while the node answers: what serving needs takes as long to import as gRPC itself.
    from vmsdk.rpc.server import VMServer

    greeting.wait()
    server = VMServer(load(), protocol, listener, on_shutdown=signals.allow_shutdown)
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
