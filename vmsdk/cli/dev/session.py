"""A run of `vmsdk dev`: lives of the VM, one after the other, until someone has had enough."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from typing_extensions import override

from vmsdk.cli.dev.http import ChainHTTP
from vmsdk.cli.dev.inbox import Inbox
from vmsdk.cli.dev.life import Life
from vmsdk.cli.dev.screen import Screen
from vmsdk.cli.dev.settings import Settings

if TYPE_CHECKING:
    from vmsdk.cli.dev.codewatch import CodeWatch

# Changed code may be the cure of a VM that hangs: it is asked to stop for this long, then killed.
RELOAD_GRACE_S = 5.0

# As a shell reports a command that Ctrl-C ended.
_INTERRUPTED_STATUS = 130


@dataclass(frozen=True)
class Interrupted:
    """Someone wants to stop: Ctrl-C, a SIGTERM, or a reader of the output that went away."""


@dataclass(frozen=True)
class Changed:
    """The VM's code has changed."""

    files: tuple[Path, ...]


@dataclass(frozen=True)
class Ended:
    """The VM's process is over, and everything that belonged to it."""

    reason: str | None
    """What is wrong; None if it was asked to stop."""


Event: TypeAlias = "Interrupted | Changed | Ended"


class Session:
    """Owns the main thread, which waits for events and does nothing long, so that Ctrl-C always gets through."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._inbox: Inbox[Event] = Inbox(Interrupted())
        self._screen = Screen(on_close=lambda: self._inbox.post(Interrupted()))
        self._http = ChainHTTP(settings.protocol, settings.port, self._screen)
        self._life: Life | None = None
        self._interruptions = 0
        self._restart = False
        self._kill_at: float | None = None

    def run(self) -> int:
        """Until the end; the exit status. Raises `PortUnavailable`. Call once."""
        with self._inbox, self._showing_warnings():
            self._http.start()
            watch = self._watch() if self._settings.reload else None
            try:
                self._begin_life(reset=self._settings.reset)
                return self._loop()
            finally:
                if watch is not None:
                    watch.stop()
                self._http.stop()

    def _loop(self) -> int:
        while True:
            event = self._inbox.next(
                None if self._kill_at is None else max(0.0, self._kill_at - time.monotonic())
            )
            if isinstance(event, Interrupted):
                self._interrupt()
                if self._life is None:
                    return 0
            elif isinstance(event, Changed):
                self._change(event.files)
            elif isinstance(event, Ended):
                self._life, self._kill_at = None, None
                status = self._end(event.reason)
                if status is not None:
                    return status
            elif self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._kill_at = None
                if self._life is not None:
                    self._screen.warning("the VM does not stop: it is killed")
                    self._life.kill()

    def _begin_life(self, *, reset: bool = False) -> None:
        self._restart = False
        self._life = Life(
            self._settings,
            self._http,
            self._screen,
            reset=reset,
            on_end=lambda reason: self._inbox.post(Ended(reason)),
        )
        self._life.start()

    def _interrupt(self) -> None:
        self._interruptions += 1
        if self._life is None:
            return
        if self._interruptions == 1:
            self._screen.note("stopping the VM (again: kill it)")
            self._life.stop()
        elif self._interruptions == 2:
            self._screen.note("killing the VM")
            self._life.kill()
        else:
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

    def _end(self, reason: str | None) -> int | None:
        """The exit status; None to go on."""
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
            self._screen.note("waiting for the next change of the code")
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
        """What the node's side logs is for people, too."""
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
