"""Chains that checks share, because starting one takes most of a check's time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from vmsdk.errors import VMError
from vmsdk.host.node import Host
from vmsdk.host.plugin import Log
from vmsdk.state import State
from vmsdk.testing.hook import Issue


class SharedChain:
    """A chain in normal operation. *start* makes its host, which logs to its argument."""

    def __init__(self, start: Callable[[Log], Host]) -> None:
        self.log: Log = lambda stream, line: None
        """Receives the plugin's output, for the check that uses the chain now."""
        self.issue: Issue | None = None
        """The hook's function for this chain. It may have state."""
        self.host = start(self._write)

    def _write(self, stream: str, line: str) -> None:
        self.log(stream, line)

    def clean(self) -> bool:
        """Reject the undecided blocks. Returns whether another check can use the chain."""
        chain = self.host.chain
        with suppress(VMError):
            while chain.processing:
                chain.reject(chain.processing[0])
            chain.ask_again()
            return self.host.process.alive and chain.state is State.NORMAL_OP and chain.engine.fault is None
        return False


class Pool:
    """The chains that no check is using. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[SharedChain] = []
        self._closed = False

    def take(self) -> SharedChain | None:
        """Return an idle chain, or None if there is none."""
        with self._lock:
            return self._idle.pop() if self._idle else None

    def give(self, shared: SharedChain) -> None:
        """Add a clean chain for the next check."""
        with self._lock:
            if not self._closed:
                self._idle.append(shared)
                return
        shared.host.kill()

    def close(self) -> None:
        """Kill the idle chains, and later those that are returned."""
        with self._lock:
            self._closed = True
        while (shared := self.take()) is not None:
            shared.host.kill()
