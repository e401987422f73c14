"""A network in the foreground: shows the chains' logs until Ctrl-C stops it."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from vmsdk.cli.dev.codewatch import CodeWatch
from vmsdk.cli.network.logs import ChainLogs
from vmsdk.cli.network.status import console, show_network
from vmsdk.errors import VMError
from vmsdk.network import LocalNetwork
from vmsdk.network.errors import NetworkBusy, NetworkNotFound
from vmsdk.target import find

_POLL_S = 0.05


class Foreground:
    """Shows a running network, follows it, and stops it at the end."""

    def __init__(self, network: LocalNetwork, logs: ChainLogs, *, reload: bool, timeout_s: float) -> None:
        """With `reload`, restart the nodes when the code of a VM changes, within `timeout_s`."""
        self._network = network
        self._logs = logs
        self._reload = reload
        self._timeout_s = timeout_s
        self._died: set[str] = set()

    def run(self) -> int:
        """Run until Ctrl-C, or until no node is running. Returns 1 if nodes died, otherwise 0."""
        try:
            show_network(self._network, console())
            hint = "Ctrl-C stops the network" + ("; a change of the code restarts it" if self._reload else "")
            print(f"\n{hint}. The chain's log:", flush=True)
            self._follow()
            return 1 if self._died else 0
        except KeyboardInterrupt:
            return 0
        finally:
            self._stop()

    def _follow(self) -> None:
        with self._watching() as changed:
            while True:
                self._logs.print_new()
                if changed.is_set():
                    changed.clear()
                    self._restart()
                if not self._still_runs():
                    self._logs.print_new()
                    return
                time.sleep(_POLL_S)

    def _restart(self) -> None:
        began = time.monotonic()
        try:
            self._network.restart(self._timeout_s)
        except VMError as error:
            _print(f"vmsdk network: {error}\nvmsdk network: waiting for the next change")
        else:
            _print(f"restarted with the changed code in {time.monotonic() - began:.1f} s")

    def _still_runs(self) -> bool:
        """Whether any node is running. Prints why the others died."""
        try:
            statuses = {node.name: node.status for node in self._network.nodes}
            died = any(status == "dead" and name not in self._died for name, status in statuses.items())
            if not died and not {"running", "paused"}.isdisjoint(statuses.values()):
                return True
            with self._network.exclusively():  # unless another command is stopping or restarting nodes
                self._report_deaths()
                return self._network.running
        except NetworkBusy:
            return True
        except NetworkNotFound:
            return False  # another command removed it

    def _report_deaths(self) -> None:
        for node in self._network.nodes:
            if node.status == "dead" and node.name not in self._died:
                self._died.add(node.name)
                _print(f"vmsdk network: {node.died()}")

    def _stop(self) -> None:
        try:
            self._network.stop()
        except NetworkNotFound:
            pass  # another command removed it
        except KeyboardInterrupt:
            _print("killing the nodes ...")
            self._network.kill()
            raise

    @contextmanager
    def _watching(self) -> Iterator[threading.Event]:
        """Yield an event that is set when the code of a chain's VM changes."""
        changed = threading.Event()
        targets = {chain.target for chain in self._network.chains} if self._reload else set()
        watches = [
            CodeWatch(find(target), lambda _: changed.set(), lambda why: _print(f"vmsdk network: {why}"))
            for target in targets
        ]
        for watch in watches:
            watch.start()
        try:
            yield changed
        finally:
            for watch in watches:
                watch.stop()


@contextmanager
def stopping_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does: the nodes are stopped in order."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
