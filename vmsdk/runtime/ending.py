"""What ends a plugin: the node's Shutdown and SIGTERM, or the exit of the node."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import threading
from collections.abc import Callable
from enum import Enum
from types import FrameType

# How often to check for the parent's exit where no descriptor reports it.
POLL_S = 1.0
# The process must exit within 5 s of its node.
SHUTDOWN_S = 3.0


_log = logging.getLogger("vmsdk")


def _ignore(number: int, frame: FrameType | None) -> None:
    pass


_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_REPLACEABLE = (_ignore, signal.default_int_handler, signal.SIG_DFL, signal.SIG_IGN)


class Ending(Enum):
    """Why the process should exit."""

    TERMINATED = "the node has shut the chain down, then sent SIGTERM"
    ORPHANED = "the node ended without shutting the chain down"


class Parent:
    """The parent process at the time of creation: normally the node."""

    def __init__(self) -> None:
        self.pid = os.getppid()
        self._descriptor: int | None = None
        opener = getattr(os, "pidfd_open", None)
        if opener is not None:
            try:
                self._descriptor = opener(self.pid)
            except OSError:
                pass  # it has exited, or the sandbox doesn't allow this: gone() is polled

    def fileno(self) -> int | None:
        """Return a descriptor that is readable once the parent exits; None without pidfds."""
        return self._descriptor

    def gone(self) -> bool:
        """Return whether the parent has exited."""
        return os.getppid() != self.pid

    def close(self) -> None:
        """Stop watching."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Signals:
    """Catches SIGINT and SIGTERM. Create it on the main thread.

    A terminal's Ctrl-C and a service manager's stop reach the node and its plugins alike, and Linux
    sends SIGTERM when the thread that started the plugin ends. So both are ignored until the
    node's Shutdown. After that, SIGTERM ends the plugin, and SIGINT is still ignored.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.setblocking(False)
        self._shut_down = False
        self.catch()

    def catch(self) -> None:
        """Replace the handlers of both signals, and log those that the author's code has set.

        Also undoes what would let another signal end the process.
        """
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        # The handler does nothing, since it may interrupt a print. Python writes each signal's
        # number to the socket, which wakes up wait_for_end.
        for number in _SIGNALS:
            if signal.signal(number, _ignore) not in _REPLACEABLE:
                _log.warning(
                    "the VM's code has set a handler for %s, which vmsdk replaces: the node stops a VM by "
                    "its shutdown method, and until then the signal has no effect",
                    signal.Signals(number).name,
                )
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        # Windows has neither of these signals.
        if hasattr(signal, "SIGPIPE") and signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL:
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            _log.warning("SIGPIPE is ignored again: a connection that breaks must not end the chain")
        if (
            hasattr(signal, "SIGALRM")
            and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
            and any(signal.setitimer(signal.ITIMER_REAL, 0))
        ):
            _log.warning("the alarm that the VM's code has set is cancelled: it would end the chain")

    def allow_shutdown(self) -> None:
        """Let SIGTERM end the plugin from now on. Thread-safe."""
        self._shut_down = True

    def wait(self) -> int:
        """Block until SIGINT or SIGTERM arrives, and return its number."""
        while True:
            select.select([self._reader], [], [])
            # Python also writes the numbers of signals for which the VM's code has a handler.
            if ours := [number for number in self._received() if number in _SIGNALS]:
                return ours[0]

    def wait_for_end(
        self, parent: Parent, report: Callable[[str], None], every_second: Callable[[], None]
    ) -> Ending:
        """Block the main thread until the process should exit. Calls *report* for each signal.

        Also returns once the parent has exited, since no SIGTERM will come then.
        """
        watched = [self._reader.fileno()]
        descriptor = parent.fileno()
        if descriptor is not None:
            watched.append(descriptor)
        while True:
            ready, _, _ = select.select(watched, [], [], POLL_S)
            every_second()
            for number in self._received() if self._reader.fileno() in ready else ():
                if self._shut_down and number == signal.SIGTERM:
                    report(f"received shutdown signal: {_name(number)}")
                    return Ending.TERMINATED
                report(f"ignoring signal: {_name(number)}")
            if descriptor in ready or parent.gone():
                return Ending.TERMINATED if self._shut_down else Ending.ORPHANED

    def _received(self) -> bytes:
        try:
            return self._reader.recv(4_096)
        except BlockingIOError:
            return b""

    def ignore(self) -> None:
        """Ignore both signals, so that they can't change the exit status of a plugin that stops."""
        self._close()
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def release(self) -> None:
        """Restore Python's handlers in a forked child."""
        self._close()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _close(self) -> None:
        signal.set_wakeup_fd(-1)
        self._reader.close()
        self._writer.close()


def harmless(work: Callable[[], None]) -> Callable[[], None]:
    """Wrap *work* so that no exception ends the process; the first is logged."""
    logged = False

    def guarded() -> None:
        nonlocal logged
        try:
            work()
        except Exception:  # noqa: BLE001 - the main thread has to keep waiting
            if not logged:
                logged = True
                _log.exception("a periodic task of vmsdk failed; the chain keeps running")

    return guarded


def shut_down_in_time(shutdown: Callable[[], None]) -> bool:
    """Run *shutdown*, which logs its own errors; return whether it returns within 3 s."""
    ended = threading.Event()

    def run() -> None:
        try:
            shutdown()
        finally:
            ended.set()

    threading.Thread(target=run, name="vmsdk-orphan", daemon=True).start()
    return ended.wait(SHUTDOWN_S)


def _name(number: int) -> str:
    # Go's names, since people search the logs for them.
    return {signal.SIGINT: "interrupt", signal.SIGTERM: "terminated"}.get(
        signal.Signals(number), signal.Signals(number).name
    )
