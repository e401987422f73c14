"""`serve`: a script as a plugin."""

from __future__ import annotations

import logging

from vmsdk.address import TRANSPORTS, Transport
from vmsdk.runtime import plugin
from vmsdk.vm import ChainVM


def serve(
    vm: ChainVM,
    *,
    protocol_version: int | None = None,
    ask_parent: bool = True,
    log_level: int | str = logging.INFO,
    transport: Transport = "auto",
) -> None:
    """Run *vm* as a plugin of the node that started this process, until the node ends it.

    *protocol_version* is 35 to 46. By default the node is asked, by running its executable with
    `--version`, unless *ask_parent* is false; if it can't be, the newest is taken. *log_level* is of the
    standard `logging`. *transport* is how the node reaches the VM: "unix", by sockets that only this user can
    open; "tcp", by ports of 127.0.0.1; or "auto", by TCP only where there can't be Unix sockets.

    Must be called on the main thread, and before anything else uses gRPC. Returns when the node has shut
    the chain down and sent SIGTERM. Exits with status 2 and one message on stderr when no node started the
    process, when the node can't be reached, or when it speaks another protocol version. Raises
    `AlreadyServing` when called while it runs, and `TypeError` for what is no VM.

    With `--version` or `--version-json` as the process's only argument, prints that and returns.
    """
    given: object = vm
    if not isinstance(given, ChainVM):
        called = f" (as in serve({given.__name__}()))" if isinstance(given, type) else ""
        raise TypeError(
            f"serve() takes an object of a class derived from vmsdk.ChainVM{called}, not {given!r}"
        )
    if transport not in TRANSPORTS:
        raise ValueError(f'transport is "auto", "unix" or "tcp", not {transport!r}')
    options = plugin.Options(type(vm).__name__, protocol_version, ask_parent, log_level, transport=transport)
    plugin.run(lambda: vm, options)
