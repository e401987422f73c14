"""The two signals that reach a plugin: ignored while the chain lives, obeyed after its shutdown."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Callable
from enum import Enum
from types import FrameType

from vmsdk.runtime.parent import POLL_S, Parent


class Ending(Enum):
    """Why the process should end."""

    TERMINATED = "the node has shut the chain down, then sent SIGTERM"
    ORPHANED = "the node is gone without having shut the chain down"


class Signals:
    """Catches SIGINT and SIGTERM from now on. Must be made on the main thread.

    A terminal's Ctrl-C and a service manager's stop reach the node and its plugins alike, and Linux
    sends a SIGTERM when the thread that started the plugin ends: so before the node's Shutdown neither
    signal means anything. Afterwards SIGTERM is the node's last word; SIGINT stays meaningless.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.setblocking(False)
        self._shut_down = False
        # The handler itself must do nothing: it may run in the middle of a print. The number of each
        # signal arrives in the socket, which wakes up wait_for_end.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _ignore)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def allow_shutdown(self) -> None:
        """The node has called Shutdown: SIGTERM counts from now on. From any thread."""
        self._shut_down = True

    def wait_for_end(self, parent: Parent, say: Callable[[str], None]) -> Ending:
        """Block the main thread until the process should end. *say* is told of each signal.

        A parent that has gone after the node's Shutdown will send no SIGTERM any more: that ends the
        wait, too.
        """
        watched = [self._reader.fileno()]
        descriptor = parent.fileno()
        if descriptor is not None:
            watched.append(descriptor)
        while True:
            ready, _, _ = select.select(watched, [], [], None if descriptor is not None else POLL_S)
            for number in self._received() if self._reader.fileno() in ready else ():
                if self._shut_down and number == signal.SIGTERM:
                    say(f"received shutdown signal: {_name(number)}")
                    return Ending.TERMINATED
                say(f"ignoring signal: {_name(number)}")
            if descriptor in ready or parent.gone():
                return Ending.TERMINATED if self._shut_down else Ending.ORPHANED

    def _received(self) -> bytes:
        try:
            return self._reader.recv(4_096)
        except BlockingIOError:
            return b""

    def ignore(self) -> None:
        """Neither signal means anything any more, also while Python ends, which gives up handlers of ours."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

    def close(self) -> None:
        """Give the signals back to Python."""
        signal.set_wakeup_fd(-1)
        for number, default in (
            (signal.SIGINT, signal.default_int_handler),
            (signal.SIGTERM, signal.SIG_DFL),
        ):
            signal.signal(number, default)
        self._reader.close()
        self._writer.close()


def _ignore(number: int, frame: FrameType | None) -> None:
    pass


def _name(number: int) -> str:
    # As Go calls them, since people search the logs for these words.
    return {signal.SIGINT: "interrupt", signal.SIGTERM: "terminated"}.get(
        signal.Signals(number), signal.Signals(number).name
    )
