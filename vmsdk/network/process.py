"""A node's operating-system process, whoever started it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from typing_extensions import Self

from vmsdk.errors import MissingExtra

try:
    import psutil
except ImportError:
    raise MissingExtra("a local network", package="psutil", extra="network") from None

_KILL_TIMEOUT_S = 10.0  # a killed process that writes to a slow disk ends when the system has let go of it
_POLL_S = 0.01
_START_TOLERANCE_S = 2.0  # the system's clock may be set between two looks at a process's start


class Process:
    """A running or ended process, known by its ID and the time at which it started, so that a recycled ID is never taken for it."""

    def __init__(self, pid: int, started: float) -> None:
        """`started` is in Unix seconds, as the operating system says it."""
        self.pid = pid
        self.started = started
        self.exit_code: int | None = None
        """Negative for a signal; None while it runs, and for a process that was started by another one."""
        self._process = self._find()
        self._is_child = self._process is not None and self._process.ppid() == os.getpid()

    @classmethod
    def start(cls, command: list[str], output: Path, environment: Mapping[str, str] | None = None) -> Self:
        """Starts a process in a session of its own, so that a terminal's Ctrl-C reaches only its starter.

        Its output goes to the end of the file `output`. Nothing is inherited but the environment and the working directory.

        Raises:
            OSError: it cannot be started.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.fspath(output), flags, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        # Not subprocess: a network may outlive the process that starts it, which a Popen object complains about.
        pid = os.posix_spawn(
            command[0],
            command,
            os.environ if environment is None else environment,
            file_actions=actions,
            setsid=True,
        )
        return cls(pid, psutil.Process(pid).create_time())

    @property
    def running(self) -> bool:
        """Whether it is there and has not ended, even if nobody took notice of its end yet."""
        if self._process is None:
            return False
        self._reap()
        return self._process is not None

    @property
    def paused(self) -> bool:
        """Whether it is stopped by SIGSTOP."""
        try:
            return self._process is not None and self._process.status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return False

    def terminate(self) -> None:
        """Asks it to end (SIGTERM)."""
        if self._process is not None:
            self._signal(self._process.terminate)

    def kill(self) -> None:
        """Ends it and its plugins at once (SIGKILL), and waits until they are gone."""
        plugins = self.plugins()
        if self._process is not None:
            self._signal(self._process.kill)
            self.wait(_KILL_TIMEOUT_S)
        _kill(plugins)

    def pause(self) -> None:
        """Freezes it (SIGSTOP) and the plugins that it runs, and waits until it is frozen."""
        for process in [self._process, *self.plugins()]:
            if process is not None:
                self._signal(process.suspend)
        deadline = time.monotonic() + _KILL_TIMEOUT_S
        while self.running and not self.paused and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def resume(self) -> None:
        """Lets it and its plugins go on (SIGCONT)."""
        for process in [*self.plugins(), self._process]:
            if process is not None:
                self._signal(process.resume)

    def wait(self, timeout_s: float) -> bool:
        """Waits until it has ended; says whether it has."""
        deadline = time.monotonic() + timeout_s
        while self.running and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return not self.running

    def plugins(self) -> list[psutil.Process]:
        """The processes that it started, and theirs."""
        if self._process is None:
            return []
        try:
            return self._process.children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def _find(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started) > _START_TOLERANCE_S:
                return None
        except psutil.NoSuchProcess:
            return None
        return process

    def _reap(self) -> None:
        if self._process is None:
            return
        try:
            self.exit_code = self._process.wait(0)
        except psutil.TimeoutExpired:
            # A child that looks dead may have threads that still end; its exit code comes when they have.
            if self._is_child or not _has_ended(self._process):
                return
        self._process = None

    @staticmethod
    def _signal(send: Callable[[], None]) -> None:
        try:
            send()
        except psutil.NoSuchProcess:
            pass  # it ended in between, which is what the caller has to expect anyway


def end_processes_in(directory: Path) -> None:
    """Ends the nodes that keep their data in the directory and the plugins that were started from it, whoever lost sight of them."""
    inside = os.fspath(directory) + os.sep
    marks = (inside, f"--data-dir={inside}")
    _kill([p for p in psutil.process_iter() if any(word.startswith(marks) for word in _command_line(p))])


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []  # it ended, or is another user's


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            pass  # it ended by itself
    deadline = time.monotonic() + _KILL_TIMEOUT_S
    while not all(map(_has_ended, processes)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _has_ended(process: psutil.Process) -> bool:
    """Also true of a process that nobody has taken notice of (a zombie)."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
