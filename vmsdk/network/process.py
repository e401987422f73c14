"""A node's operating-system process, started by vmsdk or not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from typing_extensions import Self

from vmsdk.errors import MissingExtra

try:
    import psutil
except ImportError:
    raise MissingExtra("a local network", package="psutil", extra="network") from None

_KILL_TIMEOUT_S = 10.0  # a killed process exits only when its writes to a slow disk are done
_POLL_S = 0.01
_START_TOLERANCE_S = 2.0  # setting the system's clock changes the start time of a process


class Process:
    """A process known by its ID and its start time, so a reused ID is never mistaken for it."""

    def __init__(self, pid: int, started: float) -> None:
        """`started` is in Unix seconds, according to the operating system."""
        self.pid = pid
        self.started = started
        self.exit_code: int | None = None
        """Negative for a signal; None while it runs, or if another process started it."""
        self._process: psutil.Process | None = None
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if abs(process.create_time() - started) <= _START_TOLERANCE_S:
                self._process = process
        self._is_child = self._process is not None and self._process.ppid() == os.getpid()

    @classmethod
    def start(cls, command: list[str], output: Path, environment: Mapping[str, str] | None = None) -> Self:
        """Start a process in its own session, so that a terminal's Ctrl-C doesn't reach it.

        Its output is appended to the file `output`. Raises `OSError` if it can't be started.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.fspath(output), flags, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        environment = os.environ if environment is None else environment
        # Not subprocess: a Popen object warns if the process outlives it, as a detached network
        # does.
        pid = os.posix_spawn(command[0], command, environment, file_actions=actions, setsid=True)
        return cls(pid, psutil.Process(pid).create_time())

    @property
    def running(self) -> bool:
        """Whether it runs. A zombie doesn't."""
        if self._process is None:
            return False
        self._reap()
        return self._process is not None

    @property
    def paused(self) -> bool:
        """Whether SIGSTOP has stopped it."""
        try:
            return self._process is not None and self._process.status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return False

    def terminate(self) -> None:
        """Ask it to exit (SIGTERM)."""
        if self._process is not None:
            _signal(self._process.terminate)

    def kill(self) -> None:
        """Kill it and its plugins (SIGKILL), and wait until they have exited."""
        plugins = self.plugins()
        if self._process is not None:
            _signal(self._process.kill)
            self.wait(_KILL_TIMEOUT_S)
        _kill(plugins)

    def pause(self) -> None:
        """Freeze it and its plugins (SIGSTOP), and wait until it is frozen."""
        for process in [self._process, *self.plugins()]:
            if process is not None:
                _signal(process.suspend)
        _wait(lambda: not self.running or self.paused, _KILL_TIMEOUT_S)

    def resume(self) -> None:
        """Let it and its plugins continue (SIGCONT)."""
        for process in [*self.plugins(), self._process]:
            if process is not None:
                _signal(process.resume)

    def wait(self, timeout_s: float) -> bool:
        """Wait until it exits; return whether it has."""
        _wait(lambda: not self.running, timeout_s)
        return not self.running

    def plugins(self) -> list[psutil.Process]:
        """Its child processes, and theirs."""
        try:
            return [] if self._process is None else self._process.children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def _reap(self) -> None:
        if self._process is None:
            return
        try:
            self.exit_code = self._process.wait(0)
        except psutil.TimeoutExpired:
            # A child that looks dead may have threads that still exit, and no exit code yet.
            if self._is_child or not _has_exited(self._process):
                return
        self._process = None


def end_processes_in(directory: Path) -> None:
    """Kill the nodes that keep their data in the directory, and plugins started from it."""
    inside = os.fspath(directory) + os.sep
    marks = (inside, f"--data-dir={inside}")
    _kill([p for p in psutil.process_iter() if any(word.startswith(marks) for word in _command_line(p))])


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []  # it exited, or belongs to another user


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        _signal(process.kill)
    _wait(lambda: all(map(_has_exited, processes)), _KILL_TIMEOUT_S)


def _signal(send: Callable[[], None]) -> None:
    with suppress(psutil.NoSuchProcess):  # it has just exited
        send()


def _has_exited(process: psutil.Process) -> bool:
    """Whether it has exited, even if its parent has not waited for it."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _wait(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(_POLL_S)
