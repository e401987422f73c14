"""What goes wrong with local networks. Every error holds its values and says what to do."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

from vmsdk.errors import VMError
from vmsdk.protocol import NEWEST, OLDEST, PROTOCOLS

NODE_VARIABLE = "VMSDK_NODE"
"""The environment variable that names the node's binary."""


class NetworkError(VMError):
    """The base of the errors of local networks."""


# The node's binary -------------------------------------------------------------------------------


class NodeNotFound(NetworkError):
    """Raised where there is no binary of a node."""

    def __init__(self, path: Path | None = None, reason: str = "there is no such file") -> None:
        self.path = path
        self.reason = reason
        if path is None:
            text = f"no node was named, and neither metalgo nor avalanchego is on the PATH: give --node PATH or set {NODE_VARIABLE}"
        else:
            text = f"{path} is not a node: {reason}; give the path of a metalgo or avalanchego binary by --node or {NODE_VARIABLE}"
        super().__init__(text)


class UnsupportedNode(NetworkError):
    """Raised for a node whose protocol this vmsdk does not speak."""

    def __init__(self, path: Path, version: str, protocol: int) -> None:
        self.path = path
        self.version = version
        self.protocol = protocol
        newest = ", ".join(PROTOCOLS[NEWEST].releases)
        super().__init__(
            f"{path} is {version}, which speaks protocol {protocol}; this vmsdk speaks {OLDEST} to {NEWEST} ({newest}): "
            f"use a node in that range, or {'upgrade vmsdk' if protocol > NEWEST else 'a newer node'}"
        )


class FileLimitTooLow(NetworkError):
    """Raised where this process may not open as many files as a node needs."""

    def __init__(self, limit: int, needed: int) -> None:
        self.limit = limit
        self.needed = needed
        super().__init__(
            f"a process may open only {limit} files here, and a node needs {needed}: raise the hard limit (ulimit -Hn {needed}) and start again"
        )


# A node's life -----------------------------------------------------------------------------------


class PortTaken(NetworkError):
    """Raised where another process listens on a port that a node was to listen on."""

    def __init__(self, node: str, address: str) -> None:
        self.node = node
        self.address = address
        super().__init__(
            f"{node} cannot listen on {address}, because another process does: give another port, or none to get a free one"
        )


class NodeDied(NetworkError):
    """Raised where a node ended that should run."""

    def __init__(self, node: str, exit_code: int | None, lines: Sequence[str], log: Path) -> None:
        """`exit_code` is negative for a signal, and None where the node was started by another process."""
        self.node = node
        self.exit_code = exit_code
        self.lines = tuple(lines)
        self.log = log
        super().__init__(_with_lines(f"{node} {_ending(exit_code)}", lines, log))


class NodeNotRunning(NetworkError):
    """Raised where a node would have to run and does not."""

    def __init__(self, node: str) -> None:
        self.node = node
        super().__init__(f"{node} does not run: start it first")


class NodeNotReady(NetworkError):
    """Raised where a node runs and does not get ready in time."""

    def __init__(self, node: str, timeout_s: float, lines: Sequence[str], log: Path) -> None:
        self.node = node
        self.timeout_s = timeout_s
        self.lines = tuple(lines)
        self.log = log
        super().__init__(_with_lines(f"{node} was not ready after {timeout_s:g} s", lines, log))


class _PluginFailure(NetworkError):
    reason: str
    lines: tuple[str, ...]

    @property
    def plugin_was_slow(self) -> bool:
        """Whether the plugin was alive and well, but did not greet the node within the 5 s that it waits."""
        # Plugins made with vmsdk, and with the node's own library, say this when the node loses its patience.
        told_to_end = any("ignoring signal: terminated" in line for line in self.lines)
        return "vm process not found" in self.reason and told_to_end


class PluginNotRegistered(_PluginFailure):
    """Raised where the launch failed by which a node gets to know a plugin."""

    def __init__(self, node: str, plugin: Path, reason: str, lines: Sequence[str], log: Path) -> None:
        """`reason` is the node's; `lines` are what the plugin printed."""
        self.node = node
        self.plugin = plugin
        self.reason = reason
        self.lines = tuple(lines)
        self.log = log
        super().__init__(_with_lines(f"{node} could not start the plugin {plugin}: {reason}", lines, log))


class ChainFailed(_PluginFailure):
    """Raised where a node could not make or bootstrap a chain, or stopped it."""

    def __init__(self, node: str, chain: str, reason: str, lines: Sequence[str], log: Path) -> None:
        self.node = node
        self.chain = chain
        self.reason = reason
        self.lines = tuple(lines)
        self.log = log
        super().__init__(_with_lines(f"the chain {chain} failed on {node}: {reason}", lines, log))


# Calls -------------------------------------------------------------------------------------------


class NodeUnreachable(NetworkError):
    """Raised where a node does not answer, or not in HTTP and JSON."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(f"no answer from {url}: {reason}")


class CallFailed(NetworkError):
    """Raised for a JSON-RPC call that was answered with an error."""

    def __init__(self, url: str, method: str, code: int, message: str, data: object = None) -> None:
        self.url = url
        self.method = method
        self.code = code
        self.message = message
        self.data = data
        super().__init__(f"{method} failed: {message} (code {code}, at {url})")


class TransactionFailed(NetworkError):
    """Raised where the P-chain does not take a transaction."""

    def __init__(self, what: str, reason: str) -> None:
        """`what` says what the transaction was to do."""
        self.what = what
        self.reason = reason
        super().__init__(f"the P-chain did not {what}: {reason}")


class NotEnoughFunds(NetworkError):
    """Raised where the unspent outputs do not pay for a transaction."""

    def __init__(self, needed: int, available: int) -> None:
        self.needed = needed
        self.available = available
        super().__init__(f"{needed} are needed and {available} can be spent (in units of 10**-9 tokens)")


class WaitTimedOut(NetworkError):
    """Raised where something was waited for and did not come."""

    def __init__(self, what: str, timeout_s: float) -> None:
        self.what = what
        self.timeout_s = timeout_s
        super().__init__(f"{what} did not happen in {timeout_s:g} s")


# Networks by name --------------------------------------------------------------------------------


class NetworkNotFound(NetworkError):
    """Raised where there is no network in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        super().__init__(
            f"there is no network in {directory}: vmsdk network start makes one, vmsdk network status lists them"
        )


class NetworkExists(NetworkError):
    """Raised where a network is to be made in a directory that holds something."""

    def __init__(self, directory: Path, reason: str) -> None:
        self.directory = directory
        self.reason = reason
        super().__init__(f"{directory} cannot hold a new network: {reason}")


class NetworkBusy(NetworkError):
    """Raised where another process is starting, stopping or changing the network."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        super().__init__(
            f"another process is starting, stopping or changing the network in {directory}: try again when it is done"
        )


class NoSuchNode(NetworkError):
    """Raised for the name of a node that the network does not have."""

    def __init__(self, name: str, names: Sequence[str]) -> None:
        self.name = name
        self.names = tuple(names)
        super().__init__(f"the network has no node {name!r}; it has {', '.join(names) or 'none'}")


class NoSuchChain(NetworkError):
    """Raised for the name of a chain that the network does not have."""

    def __init__(self, name: str, names: Sequence[str]) -> None:
        self.name = name
        self.names = tuple(names)
        super().__init__(f"the network has no chain {name!r}; it has {', '.join(names) or 'none'}")


class InvalidArgument(NetworkError, ValueError):
    """Raised for a name, number or file that a network cannot be made with."""


def _ending(exit_code: int | None) -> str:
    if exit_code is None:
        return "ended"
    if exit_code < 0:
        try:
            return f"was ended by {signal.Signals(-exit_code).name}"
        except ValueError:
            return f"was ended by signal {-exit_code}"
    return f"ended with exit code {exit_code}"


def _with_lines(text: str, lines: Sequence[str], log: Path) -> str:
    if not lines:
        return text
    return "\n".join([f"{text}; from {log.name}:", *(f"  {line}" for line in lines)])
