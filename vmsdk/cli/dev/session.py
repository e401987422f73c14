"""A run of `vmsdk dev`: starts the VM, restarts it when its code changes, and stops it."""

from __future__ import annotations

import logging
import os
import select
import shutil
import signal
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from typing_extensions import Self, override

from vmsdk.cli.dev import Settings
from vmsdk.cli.dev.http import ChainHTTP
from vmsdk.cli.dev.life import Life
from vmsdk.cli.dev.screen import Screen
from vmsdk.host import devapi
from vmsdk.host.clock import Clock
from vmsdk.host.control import Control
from vmsdk.target import SourceTarget

if TYPE_CHECKING:
    from vmsdk.cli.dev.codewatch import CodeWatch

T = TypeVar("T")

# How long a VM may take to stop for a reload before it is killed.
RELOAD_GRACE_S = 5.0
# SIGTERMs within this time are one request: `timeout` signals the command and then its process
# group, and either may be late on a busy machine. A terminal sends one SIGINT for each Ctrl-C.
SAME_REQUEST_S = 1.0
# How long to wait for a killed VM to exit.
KILL_GRACE_S = 1.0

# The exit status of a command that Ctrl-C ended, as in a shell.
_INTERRUPTED_STATUS = 130
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
# No signal has this number.
_POSTED = b"\0"


@dataclass(frozen=True)
class Interrupted:
    """A request to stop."""

    number: int
    """The signal's; 0 for a closed output pipe."""


@dataclass(frozen=True)
class Changed:
    """The VM's code has changed."""

    files: tuple[Path, ...]


@dataclass(frozen=True)
class Ended:
    """The VM's process has exited."""

    reason: str | None
    """Why it ended; None if it was stopped."""


@dataclass(frozen=True)
class Restart:
    """`/ext/dev` asks for another process."""

    kill: bool


Event: TypeAlias = "Interrupted | Changed | Restart | Ended"


class Session:
    """Handles events on the main thread, quickly, so that Ctrl-C always works."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._inbox: Inbox[Event] = Inbox(Interrupted)
        self._screen = Screen(on_close=lambda: self._inbox.post(Interrupted(0)))
        self._folder = tempfile.TemporaryDirectory(prefix="vmsdk-dev-")
        self._clock = Clock(Path(self._folder.name) / "clock")
        self._control = Control(
            self._clock if isinstance(settings.target, SourceTarget) else None,
            restart=lambda kill: self._inbox.post(Restart(kill)),
        )
        self._http = ChainHTTP(
            settings.protocol,
            settings.port,
            self._screen,
            {devapi.PATH: devapi.endpoint(self._control)},
            has_timeouts=settings.debug is None,
        )
        self._life: Life | None = None
        self._interruptions = 0
        self._interrupted_at: dict[int, float] = {}
        self._restart = False
        self._kill_at: float | None = None

    def run(self) -> int:
        """Run, and return the exit status. Raises `VMError` if the port is in use. Call once."""
        with self._inbox, self._showing_warnings():
            self._http.start()
            watch = self._watch() if self._settings.reload else None
            try:
                self._begin_life(reset=self._settings.reset)
                return self._loop()
            finally:
                if watch is not None:
                    watch.stop()
                self._control.close()
                self._http.stop()
                self._folder.cleanup()

    def _loop(self) -> int:
        while True:
            event = self._inbox.next(
                None if self._kill_at is None else max(0.0, self._kill_at - time.monotonic())
            )
            if isinstance(event, Interrupted):
                self._interrupt(event.number)
                if self._life is None:
                    return 0
            elif isinstance(event, Changed):
                self._change(event.files)
            elif isinstance(event, Restart):
                self._restart_life(kill=event.kill)
            elif isinstance(event, Ended):
                self._life, self._kill_at = None, None
                status = self._end(event.reason)
                if status is not None:
                    return status
            elif self._kill_at is not None and time.monotonic() >= self._kill_at:
                if self._interruptions > 1:
                    self._exit()
                self._kill_at = None
                if self._life is not None:
                    self._screen.warning("the VM does not stop: killing it")
                    self._life.kill()

    def _begin_life(self, *, reset: bool = False) -> None:
        self._restart = False
        self._life = Life(
            self._settings,
            self._http,
            self._screen,
            control=self._control,
            clock=self._clock.file,
            reset=reset,
            on_end=lambda reason: self._inbox.post(Ended(reason)),
        )
        self._life.start()

    def _interrupt(self, number: int) -> None:
        now = time.monotonic()
        before = self._interrupted_at.get(number)
        self._interrupted_at[number] = now
        # Only a repeat of the same signal counts: several programs may each ask once.
        if self._interruptions and before is None:
            return
        if before is not None and number != signal.SIGINT and now - before < SAME_REQUEST_S:
            return
        self._interruptions += 1
        if self._life is None:
            return
        if self._interruptions == 1:
            self._screen.note("stopping the VM (Ctrl-C again to kill it)")
            self._life.stop()
        elif self._interruptions == 2:
            self._screen.note("killing the VM")
            self._life.kill()
            self._kill_at = time.monotonic() + KILL_GRACE_S
        else:
            self._exit()

    def _exit(self) -> None:
        """Exit without waiting for anything: a child of the killed VM may hold its pipes open."""
        self._screen.note("killed")
        shutil.rmtree(self._folder.name, ignore_errors=True)
        os._exit(_INTERRUPTED_STATUS)

    def _change(self, files: tuple[Path, ...]) -> None:
        if self._interruptions:
            return
        names = ", ".join(os.path.relpath(file) for file in files[:3]) + (", ..." if files[3:] else "")
        if self._life is None:
            self._screen.note(f"changed: {names}: starting the VM")
            self._begin_life()
        elif not self._restart:
            self._screen.note(f"changed: {names}: restarting the VM")
            self._restart = True
            self._kill_at = time.monotonic() + RELOAD_GRACE_S
            self._life.stop()

    def _restart_life(self, *, kill: bool) -> None:
        if self._interruptions or self._life is None:
            return
        self._restart = True
        if kill:
            self._screen.note("killing the VM and starting it again")
            self._life.kill()
        else:
            self._screen.note("restarting the VM")
            self._kill_at = time.monotonic() + RELOAD_GRACE_S
            self._life.stop()

    def _end(self, reason: str | None) -> int | None:
        """Return the exit status, or None to keep running."""
        if self._interruptions:
            killed = self._interruptions > 1
            self._screen.note("killed" if killed else "stopped")
            return _INTERRUPTED_STATUS if killed else 0
        if reason is not None:
            self._screen.error(reason)
            if not self._settings.reload:
                return 1
        if self._restart:
            self._begin_life()
        else:
            self._screen.note("waiting for a change of the code")
        return None

    def _watch(self) -> CodeWatch:
        from vmsdk.cli.dev.codewatch import CodeWatch

        watch = CodeWatch(
            self._settings.target,
            on_change=lambda files: self._inbox.post(Changed(tuple(files))),
            on_failure=self._screen.warning,
        )
        watch.start()
        return watch

    @contextmanager
    def _showing_warnings(self) -> Iterator[None]:
        """Show the warnings of the node's side."""
        logger = logging.getLogger("vmsdk.host")
        handler = _ToScreen(self._screen)
        logger.addHandler(handler)
        previous, logger.propagate = logger.propagate, False
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.propagate = previous


class _ToScreen(logging.Handler):
    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.WARNING)
        self._screen = screen

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self._screen.warning(self.format(record))


class Inbox(Generic[T]):
    """Events from any thread; *on_signal* makes one from the number of a signal that asks to stop.

    Python can miss a signal that arrives just before the main thread waits for a lock or a queue.
    Here the system writes the signal to a socket that the main thread waits for. Create it on that
    thread.
    """

    def __init__(self, on_signal: Callable[[int], T]) -> None:
        self._on_signal = on_signal
        self._events: deque[T] = deque()
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.setblocking(False)
        for number in _SIGNALS:
            signal.signal(number, _ignore)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def post(self, event: T) -> None:
        """Add an event, from any thread. Does nothing once closed."""
        self._events.append(event)
        try:
            self._writer.send(_POSTED)
        except OSError:
            pass  # full, so the reader wakes up anyway; or closed

    def next(self, timeout_s: float | None = None) -> T | None:
        """Wait for the next event, on the main thread. Returns None after *timeout_s*."""
        select.select([self._reader], [], [], 0.0 if self._events else timeout_s)
        self._receive()
        return self._events.popleft() if self._events else None

    def close(self) -> None:
        """Ignore the signals from now on.

        The process is about to exit with a known status. Another Ctrl-C would change that to the
        status of a signal, since Python drops its handlers while it exits.
        """
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        self._reader.close()
        self._writer.close()

    def _receive(self) -> None:
        try:
            received = self._reader.recv(4_096)
        except BlockingIOError:
            return
        signals = [self._on_signal(number) for number in received if number in _SIGNALS]
        # Ctrl-C reaches the VM, too: its exit must not be handled before the signal.
        self._events.extendleft(reversed(signals))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ignore(number: int, frame: FrameType | None) -> None:
    pass
