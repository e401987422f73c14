"""The errors of the node's side, sorted by whose fault they are."""

from __future__ import annotations

from pathlib import Path

from vmsdk.errors import VMError


class HostError(VMError):
    """The base of every error of `vmsdk.host`."""


# Of the process --------------------------------------------------------------------------------


class StartFailed(HostError):
    """The operating system did not start the plugin. *reason* is its own text."""

    def __init__(self, command: str, reason: str) -> None:
        self.command = command
        self.reason = reason
        super().__init__(f"failed to start process: {command}: {reason}")


class HandshakeFailed(HostError):
    """The plugin process did not announce itself as a node wants it. *reason* is the node's text.

    *output* is the end of what the plugin wrote to its stdout and stderr, one item a line.
    """

    def __init__(self, reason: str, output: tuple[str, ...] = ()) -> None:
        self.reason = reason
        self.output = output
        super().__init__(f"handshake failed: {reason}")


class EndedBeforeHandshake(HandshakeFailed):
    """The plugin process ended without having announced itself; only a host that is not patient looks."""

    def __init__(self, reason: str, *, exit_code: int | None, output: tuple[str, ...] = ()) -> None:
        self.exit_code = exit_code
        super().__init__(reason, output)


class ProtocolMismatch(HandshakeFailed):
    """The plugin speaks another protocol version than this host."""

    def __init__(self, reason: str, *, host: int, plugin: int, output: tuple[str, ...] = ()) -> None:
        self.host = host
        self.plugin = plugin
        super().__init__(reason, output)


class PluginGone(HostError):
    """The plugin process ended while it was needed.

    *method* is what was called, if anything; *exit_code* is negative for a signal, None if unknown.
    """

    def __init__(self, method: str | None = None, exit_code: int | None = None) -> None:
        self.method = method
        self.exit_code = exit_code
        how = "" if exit_code is None else f" (exit status {exit_code})"
        during = "" if method is None else f" during {method}"
        super().__init__(f"the plugin process is gone{how}{during}: its log tells why")


class ClientClosed(HostError):
    """The client was closed before or during a call."""

    def __init__(self, method: str) -> None:
        self.method = method
        super().__init__(f"{method}: the client is closed")


# Of the VM's answers ---------------------------------------------------------------------------


class CallFailed(HostError):
    """The VM answered a call with an error that a node can live with.

    *method* is the name without its service, *code* the name of the gRPC status, *details* its text.
    """

    def __init__(self, method: str, code: str, details: str) -> None:
        self.method = method
        self.code = code
        self.details = details
        super().__init__(f"{method}: {details or code}")


class InvalidAnswer(CallFailed):
    """The VM answered, but with something that a node refuses: a short ID, no timestamp, …"""

    def __init__(self, method: str, details: str) -> None:
        super().__init__(method, "OK", details)


class ChainFatal(HostError):
    """The VM's answer stops the chain on a node ("shutting down chain"). *cause* says what it was."""

    def __init__(self, cause: HostError) -> None:
        self.cause = cause
        super().__init__(f"shutting down chain: {cause}")


# Of the one who drives the host ------------------------------------------------------------------


class ChainMisused(HostError):
    """A node would never do what was asked of the chain. The text names the rule."""


class DatabaseInUse(HostError):
    """Another process has the database file open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"the database {path} is in use by another process: stop that one, or choose another data directory"
        )


class DatabaseUnreadable(HostError):
    """The database file can't be opened, or is not one of ours."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"can't use the database {path}: {reason}; remove it to start anew")
