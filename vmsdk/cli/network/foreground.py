"""A network in the foreground: its chains' logs on the screen, until Ctrl-C stops it."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from vmsdk.cli.dev.codewatch import CodeWatch
from vmsdk.cli.network.follow import ChainLogs
from vmsdk.cli.network.tables import console, show_network
from vmsdk.errors import VMError
from vmsdk.network import LocalNetwork
from vmsdk.network.errors import NetworkBusy, NetworkNotFound
from vmsdk.target import find

_POLL_S = 0.05


class Foreground:
    """Shows a running network, follows it, and stops it in the end."""

    def __init__(self, network: LocalNetwork, logs: ChainLogs, *, reload: bool, timeout_s: float) -> None:
        """`reload` restarts the nodes when the code of a chain's VM changes; `timeout_s` is how long that may take."""
        self._network = network
        self._logs = logs
        self._reload = reload
        self._timeout_s = timeout_s
        self._died: set[str] = set()

    def run(self) -> int:
        """Returns after Ctrl-C, or when no node runs any more. The exit status: 1 where nodes died."""
        try:
            show_network(self._network, console())
            hint = "Ctrl-C stops the network" + (", a change of the code restarts it" if self._reload else "")
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
            _say(f"vmsdk network: {error}\nvmsdk network: waiting for the next change of the code")
        else:
            _say(f"restarted with the changed code in {time.monotonic() - began:.1f} s")

    def _still_runs(self) -> bool:
        """Whether any node does. Tells of nodes that ended without being asked to."""
        try:
            statuses = {node.name: node.status for node in self._network.nodes}
            died = any(status == "dead" and name not in self._died for name, status in statuses.items())
            if not died and not {"running", "paused"}.isdisjoint(statuses.values()):
                return True
            with self._network.exclusively():  # another command may be stopping or restarting nodes
                self._report_deaths()
                return self._network.running
        except NetworkBusy:
            return True
        except NetworkNotFound:
            return False  # removed from elsewhere

    def _report_deaths(self) -> None:
        for node in self._network.nodes:
            if node.status == "dead" and node.name not in self._died:
                self._died.add(node.name)
                _say(f"vmsdk network: {node.died()}")

    def _stop(self) -> None:
        try:
            self._network.stop()
        except NetworkNotFound:
            pass  # removed from elsewhere
        except KeyboardInterrupt:
            _say("killing the nodes ...")
            self._network.kill()
            raise

    @contextmanager
    def _watching(self) -> Iterator[threading.Event]:
        """An event that is set when the code of a chain's VM changes."""
        changed = threading.Event()
        targets = {chain.target for chain in self._network.chains} if self._reload else set()
        watches = [CodeWatch(find(target), lambda _: changed.set(), _cannot_watch) for target in targets]
        for watch in watches:
            watch.start()
        try:
            yield changed
        finally:
            for watch in watches:
                watch.stop()


@contextmanager
def stopping_on_sigterm() -> Iterator[None]:
    """A SIGTERM ends the command as Ctrl-C does: the nodes are stopped in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _cannot_watch(reason: str) -> None:
    _say(f"vmsdk network: {reason}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
