"""The errors of local networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vmsdk.errors import VMError


class NetworkError(VMError):
    """An operation on a local network failed; the text explains why and what to do."""


class PortTaken(NetworkError):
    """Another process uses a port that a node needs."""

    def __init__(self, node: str, address: str) -> None:
        super().__init__(
            f"{node} can't listen on {address}, which another process uses; "
            "choose a different port, or leave it out to get a free one"
        )


class PluginFailed(NetworkError):
    """A node could not register a plugin, or could not create or run its chain."""

    def __init__(self, what: str, reason: str, lines: Sequence[str], log: Path) -> None:
        """`what` failed, `reason` is the node's text, `lines` are from the file `log`."""
        self.reason = reason
        self.lines = tuple(lines)
        super().__init__(with_lines(f"{what}: {reason}", lines, log))

    @property
    def plugin_was_slow(self) -> bool:
        """Whether the plugin was alive, but exceeded the node's limit of 5 s."""
        # Plugins in Python and in Go print this when the node gives up on them.
        was_alive = any("ignoring signal: terminated" in line for line in self.lines)
        return "vm process not found" in self.reason and was_alive


class NodeUnreachable(NetworkError):
    """A URL returned no response, or one that is not JSON-RPC."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"no response from {url}: {reason}")


class CallFailed(NetworkError):
    """A JSON-RPC call returned an error."""

    def __init__(self, url: str, method: str, code: int, message: str, data: object = None) -> None:
        self.code = code
        self.message = message
        self.data = data
        super().__init__(f"{method} failed: {message} (code {code}, at {url})")


class NetworkNotFound(NetworkError):
    """There is no network in a directory."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"there is no network in {directory}: "
            "vmsdk network start creates one, vmsdk network status lists them"
        )


class NetworkBusy(NetworkError):
    """Another process is starting, stopping or changing the network."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"another command is starting, stopping or changing the network in {directory}: try again later"
        )


def with_lines(text: str, lines: Sequence[str], log: Path) -> str:
    """A message followed by lines of a log file."""
    if not lines:
        return text
    return "\n".join([f"{text}; from {log.name}:", *(f"  {line}" for line in lines)])
