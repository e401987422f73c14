"""Errors that the node's side raises."""

from __future__ import annotations

import signal
from pathlib import Path

from vmsdk.errors import VMError

_LAST_LINES = 10


class HostError(VMError):
    """The base of every error of `vmsdk.host`."""


# The process -------------------------------------------------------------------------------------


class StartFailed(HostError):
    """The operating system could not start the plugin. *reason* is the system's text.

    *exit_code* is that of the process that should have become the plugin, if there was one.
    """

    def __init__(self, command: str, reason: str, exit_code: int | None = None) -> None:
        self.command = command
        self.reason = reason
        self.exit_code = exit_code
        super().__init__(f"failed to start process: {command}: {reason}")


class HandshakeFailed(HostError):
    """The plugin did not announce itself as a node expects. *reason* is the node's text.

    *output* has the last lines that the plugin wrote to stdout and stderr.
    """

    def __init__(self, reason: str, output: tuple[str, ...] = (), *, ended: str = "") -> None:
        self.reason = reason
        self.output = output
        lines = "".join(f"\n  {line}" for line in output[-_LAST_LINES:])
        tail = f"; the plugin's last lines:{lines}" if lines else ""
        super().__init__(f"handshake failed: {reason}{ended}{tail}")


class EndedBeforeHandshake(HandshakeFailed):
    """The plugin process exited without announcing itself."""

    def __init__(self, reason: str, *, exit_code: int | None, output: tuple[str, ...] = ()) -> None:
        self.exit_code = exit_code
        super().__init__(reason, output, ended=f": the plugin process exited{ending(exit_code)}")


class ProtocolMismatch(HandshakeFailed):
    """The plugin speaks a different protocol version from this host."""

    def __init__(self, reason: str, *, host: int, plugin: int, output: tuple[str, ...] = ()) -> None:
        self.host = host
        self.plugin = plugin
        super().__init__(reason, output)


class PluginGone(HostError):
    """The plugin process exited while it was needed.

    *method* is what was called, if anything; *exit_code* is negative for a signal, None if unknown.
    """

    def __init__(self, method: str | None = None, exit_code: int | None = None) -> None:
        self.method = method
        self.exit_code = exit_code
        during = "" if method is None else f" during {method}"
        super().__init__(f"the plugin process died{during}{ending(exit_code)}: see its log")


class ClientClosed(HostError):
    """The client was closed before or during the call of *method*."""

    def __init__(self, method: str) -> None:
        super().__init__(f"{method}: the client is closed")


def ending(exit_code: int | None) -> str:
    """Describe how a process exited: ` (SIGSEGV)`, ` (exit status 1)`, or nothing if unknown."""
    if exit_code is None:
        return ""
    if exit_code >= 0:
        return f" (exit status {exit_code})"
    try:
        return f" ({signal.Signals(-exit_code).name})"
    except ValueError:  # most real-time signals have no name
        return f" (signal {-exit_code})"


# The VM's responses ------------------------------------------------------------------------------


class CallFailed(HostError):
    """The VM returned an error that a node survives.

    *method* is its name without the service; *code* and *details* are the gRPC status and its text.
    """

    def __init__(self, method: str, code: str, details: str) -> None:
        self.method = method
        self.code = code
        self.details = details
        super().__init__(f"{method}: {details or code}")


class InvalidResponse(CallFailed):
    """A node would refuse the VM's response: a short ID, no timestamp, ..."""

    def __init__(self, method: str, details: str) -> None:
        super().__init__(method, "OK", details)


class ChainFatal(HostError):
    """*cause* stops the chain on a node ("shutting down chain")."""

    def __init__(self, cause: HostError) -> None:
        self.cause = cause
        super().__init__(f"shutting down chain: {cause}")


# The user of the host ----------------------------------------------------------------------------


class ChainMisused(HostError):
    """A node would never do this to a chain."""


class DatabaseInUse(HostError):
    """Another process has the database file open."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"the database {path} is in use by another process: stop it or use another folder")


class DatabaseUnwritable(HostError):
    """A write failed, such as on a full disk."""

    def __init__(self, path: Path | None, reason: str) -> None:
        super().__init__(f"can't write the database {path or 'in memory'}: {reason}")


class DatabaseUnreadable(HostError):
    """The database file can't be opened, or belongs to another program.

    *is_damaged* is False if the cause is not the file itself but, for instance, a full disk.
    """

    def __init__(self, path: Path, reason: str, *, is_damaged: bool = True) -> None:
        cure = "; remove it to start over" if is_damaged else ""
        super().__init__(f"can't use the database {path}: {reason}{cure}")
