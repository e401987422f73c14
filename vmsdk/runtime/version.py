"""Chooses the protocol version. There is no negotiation: a node stops a plugin with another one."""

from __future__ import annotations

import os
import sys
import time

from vmsdk.protocol import DEFAULT_PROTOCOL, PROTOCOLS, Protocol, protocol
from vmsdk.runtime.nodeprocess import Ancestor, find_node, why_not_found
from vmsdk.runtime.release import VERSION_FLAG, Command, Release, ReleaseCache, cache_directory

# Nodes take 0.1 to 0.3 s, slow ones up to 1 s.
RESPONSE_TIMEOUT_S = 2.0
# A node waits for the handshake for 5 s after it starts the plugin.
LATEST_HANDSHAKE_S = 4.0

TEXT_FLAG = "--version"
JSON_FLAG = "--version-json"


class VersionChoice:
    """The protocol version of this process: *given*, or the node's, or the default.

    If *given* is None and *ask* is true, runs the node's executable with `--version` in the
    background. The node is looked for among the parent processes; it waits at the address *engine*.
    Raises `UnsupportedProtocol` if *given* is not supported.
    """

    def __init__(self, given: int | None, *, engine: str, ask: bool) -> None:
        self._chosen = protocol(DEFAULT_PROTOCOL if given is None else given)
        self.source = "as configured"
        """Where the version comes from, for messages."""
        self._node: Ancestor | None = None
        self._question: Command | None = None
        directory = cache_directory()
        self._cache = None if directory is None else ReleaseCache(directory)
        if given is None and not ask:
            self.source = "the default, since the VM is configured not to ask the node"
        elif given is None:
            self._node = find_node(engine)
            if self._node is None:
                self.source = f"the default, since {why_not_found(engine)}"
            else:
                self._ask(self._node)

    def _ask(self, node: Ancestor) -> None:
        known = None if self._cache is None else self._cache.get(node.path, node.executable)
        if known is not None:
            self._take(node, known)
            return
        try:
            self._question = Command(node.executable, [node.path, VERSION_FLAG])
        except OSError as error:
            self.source = (
                f"the default, since the node {node.path} can't be asked for its version: {error.strerror}"
            )

    @property
    def is_open(self) -> bool:
        """Whether the node still has to respond."""
        return self._question is not None

    def settle(self) -> Protocol:
        """Return the version, after at most 2 s."""
        question, self._question = self._question, None
        if question is not None and self._node is not None:
            left_s = max(0.0, LATEST_HANDSHAKE_S - _age_s())
            release = question.release(min(RESPONSE_TIMEOUT_S, left_s))
            if release is None:
                what = "its version in time" if question.timed_out else f"a protocol for {VERSION_FLAG}"
                self.source = f"the default, since the node {self._node.path} did not print {what}"
            else:
                if self._cache is not None:
                    self._cache.put(self._node.path, self._node.executable, release)
                self._take(self._node, release)
        return self._chosen

    def _take(self, node: Ancestor, release: Release) -> None:
        # If vmsdk doesn't support it, the error of the handshake explains what to do.
        self._chosen = PROTOCOLS.get(release.protocol, self._chosen)
        self.source = f"the node {node.path} is {release.application}, which speaks {release.protocol}"

    def close(self) -> None:
        """Stop asking the node."""
        if self._question is not None:
            self._question.close()


def _age_s() -> float:
    """Return the age of this process in seconds, or 0 if unknown."""
    if sys.platform != "linux":
        return 0.0
    try:
        with open("/proc/self/stat", "rb") as file:
            # The 22nd value, in clock ticks since boot. Two come before the closing bracket.
            started_ticks = int(file.read().rpartition(b")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0
