"""Runs a plugin: `serve` from the author's script, `launch` from an installed file."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vmsdk.address import TRANSPORTS, Transport

# Imports here delay the handshake of an installed plugin, for which the node waits 5 s.
from vmsdk.runtime import plugin
from vmsdk.runtime.logrecords import LogFormat

if TYPE_CHECKING:
    from vmsdk.vm import ChainVM


def serve(
    vm: ChainVM,
    *,
    protocol_version: int | None = None,
    ask_parent: bool = True,
    log_level: int | str = logging.INFO,
    log_format: LogFormat = "plain",
    transport: Transport = "auto",
    slow_call_s: float | None = None,
) -> None:
    """Run *vm* as a plugin of the node that started this process, until the node stops it.

    *protocol_version* is one of `vmsdk.protocol.PROTOCOLS`. By default the node's executable is run
    with `--version`; if that fails, or *ask_parent* is false, the version is
    `vmsdk.protocol.DEFAULT_PROTOCOL`. *log_level* is a level of `logging` or of a node, and
    *log_format* is "plain" or "json"; the chain's config may change both.

    *transport* is how the node reaches the VM: "unix", by sockets that only this user can open;
    "tcp", by ports of 127.0.0.1, where on Linux the calls of other users are refused;
    "tcp-any-user", where they are not; or "auto", the value of `GRPC_VMSDK_TRANSPORT` in the node's
    environment, or else TCP only where Unix sockets are not possible.

    A call of the VM that is still running after *slow_call_s* seconds is logged with its stack, and
    again after ten times as long; 0 turns that off. The default is `GRPC_VMSDK_SLOW_CALL_S` in the
    node's environment, or 3.

    Must be called on the main thread, and before anything else uses gRPC. Returns when the node has
    shut the chain down and sent SIGTERM. Exits with status 2 and one message on stderr if no node
    started the process, the node can't be reached, or it speaks another protocol version. Raises
    `VMError` if a plugin already runs, and `TypeError` if *vm* is not a VM.

    With `--version` or `--version-json` as the process's only argument, prints that and exits.
    """
    from vmsdk.vm import ChainVM, check_interfaces

    given: object = vm
    if not isinstance(given, ChainVM):
        called = f" (as in serve({given.__name__}()))" if isinstance(given, type) else ""
        raise TypeError(
            f"serve() takes an object of a class derived from vmsdk.ChainVM{called}, not {given!r}"
        )
    check_interfaces(type(vm))
    if transport not in TRANSPORTS:
        raise ValueError(f"transport is {transport!r}, but must be one of {', '.join(TRANSPORTS)}")
    options = plugin.Options(
        type(vm).__name__,
        protocol_version,
        ask_parent,
        log_level,
        log_format,
        transport=transport,
        slow_call_s=slow_call_s,
    )
    plugin.run(lambda: vm, options)


def launch(
    *,
    name: str,
    target: str,
    module: str,
    file: str | None,
    attribute: str | None,
    root: str | None,
    prepare: Callable[[ChainVM], None] = lambda vm: None,
    **options: Any,
) -> None:
    """Serve the VM that `vmsdk install` found as *target*. Called by the file that it writes.

    *module*, *file*, *attribute* and *root* are those of the `SourceTarget`. *prepare* is called
    with the VM. *options* are fields of `plugin.Options`.
    """

    def load() -> ChainVM:
        from pathlib import Path

        from vmsdk.target import SourceTarget

        source = SourceTarget(
            target, module, Path(file) if file else None, attribute, Path(root) if root else None
        )
        vm = source.load()()
        prepare(vm)
        return vm

    plugin.run(load, plugin.Options(name, **options))
