"""A plugin process, started and stopped as a node does."""

from __future__ import annotations

import codecs
import logging
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from typing_extensions import Self

from vmsdk.host.errors import EndedBeforeHandshake, HandshakeFailed, ProtocolMismatch
from vmsdk.host.runtime import RuntimeService
from vmsdk.host.service import LoopbackServer
from vmsdk.host.spawn import UNCHANGED, Surroundings, spawn
from vmsdk.protocol import DEFAULT_PROTOCOL
from vmsdk.protocol import protocol as protocol_of

_log = logging.getLogger("vmsdk.host")

# Source: vms/rpcchainvm/runtime/runtime.go.
ENGINE_ADDRESS_KEY = "AVALANCHE_VM_RUNTIME_ENGINE_ADDR"
HANDSHAKE_TIMEOUT_S = 5.0
GRACEFUL_STOP_TIMEOUT_S = 5.0
# The only environment variables that plugins inherit from a node.
_INHERITED_PREFIXES = ("GRPC_", "GODEBUG")
# Enough for a traceback in the error of a failed handshake.
_REMEMBERED_LINES = 200
# How long output is read after the process has exited, if another process holds its pipes open.
_LAST_OUTPUT_TIMEOUT_S = 1.0
# A process closes its streams a moment before it exits.
ENDING_S = 0.5
_READ_BYTES = 64 * 1024
# A longer line is shown in pieces, so that output without line breaks can't fill the memory.
MAX_LINE_CHARACTERS = 64 * 1024


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a node's environment that its plugins get."""
    return {name: value for name, value in environment.items() if name.startswith(_INHERITED_PREFIXES)}


def with_variables(command: Sequence[str], *variables: str) -> list[str]:
    """Return the command that runs *command* with *variables* (``NAME=value``)."""
    # env would mistake a command with = in its path for a variable; sh can't export every name.
    return ["/usr/bin/env", *variables, "/bin/sh", "-c", 'exec "$@"', "sh", *command]


Log = Callable[[str, str], None]


class LogStream:
    """Splits the output of a process into lines, and calls *show* with each, without line break.

    Bytes that are not UTF-8 become U+FFFD.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""

    def feed(self, data: bytes) -> None:
        """Add the next bytes, which may end anywhere."""
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        for line in lines:
            self._show_line(line)
        while len(self._rest) > MAX_LINE_CHARACTERS:
            self._show(self._rest[:MAX_LINE_CHARACTERS])
            self._rest = self._rest[MAX_LINE_CHARACTERS:]

    def end(self) -> None:
        """Show the rest, a line without line break."""
        rest = self._rest + self._decoder.decode(b"", final=True)
        self._rest = ""
        if rest:
            self._show_line(rest)

    def _show_line(self, line: str) -> None:
        line = line.removesuffix("\r")
        for start in range(0, len(line) or 1, MAX_LINE_CHARACTERS):
            self._show(line[start : start + MAX_LINE_CHARACTERS])


class PluginProcess:
    """Starts *command*, a path or an argv, as a plugin.

    *protocol* is the version that the host speaks. *log* is called with ``"stdout"`` or
    ``"stderr"`` and each line of output, on other threads. The timeouts default to a node's. A node
    waits for the handshake even after the process has exited; if *patient* is False, this one
    doesn't. *runtime* is the service that gets the announcement; None makes a node's. As a context
    manager it starts and stops the process.
    """

    def __init__(
        self,
        command: Sequence[str] | Path,
        *,
        protocol: int = DEFAULT_PROTOCOL,
        log: Log | None = None,
        environment: Mapping[str, str] = os.environ,
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
        stop_timeout_s: float = GRACEFUL_STOP_TIMEOUT_S,
        patient: bool = True,
        runtime: RuntimeService | None = None,
        surroundings: Surroundings = UNCHANGED,
    ) -> None:
        self.argv = _argv(command)
        self.protocol = protocol
        self.address: str | None = None
        """Where the plugin serves ``vm.VM``; set by `start`."""
        self.exit_code: int | None = None
        """Set when the process has exited; negative for a signal."""
        self.handshake_s: float | None = None
        """Seconds from exec to the plugin's handshake; set by `start`."""
        self.output: deque[str] = deque(maxlen=_REMEMBERED_LINES)
        """The last lines of stdout and stderr."""
        self._log = log
        self._environment = environment
        self._handshake_timeout_s = handshake_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._patient = patient
        self._surroundings = surroundings
        self._runtime = runtime or RuntimeService(protocol_of(protocol), self.argv[0])
        self._process: subprocess.Popen[bytes] | None = None
        # Closing the writer makes the threads stop reading streams that a grandchild holds open.
        self._wakeup_reader: socket.socket
        self._wakeup_writer: socket.socket
        self._start_error: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self._started = threading.Event()
        self._exited = threading.Event()
        self._signal_lock = threading.Lock()
        self._stop_lock = threading.Lock()
        self._stopped = False
        self.exec_at_s = 0.0
        """The `time.perf_counter` of the exec; set by `start`."""
        self._at_exit: list[Callable[[int], None]] = []

    # Start ----------------------------------------------------------------------------------------

    def start(self) -> str:
        """Start the process and wait for the handshake; returns the plugin's address. Call once.

        Raises `StartFailed`, `HandshakeFailed` or `ProtocolMismatch`, after stopping the process.
        """
        runtime = self._runtime
        server = LoopbackServer(runtime, health_service=False)
        server.start()
        try:
            self._spawn(server.address)
            if not self._patient:
                self.at_exit(lambda exit_code: runtime.give_up())
            self.address = self._await_handshake(runtime)
        except BaseException:
            self.stop()
            raise
        finally:
            server.stop(GRACEFUL_STOP_TIMEOUT_S)
        return self.address

    def _spawn(self, engine_address: str) -> None:
        environment = {ENGINE_ADDRESS_KEY: engine_address, **inherited(self._environment)}
        # Linux sends the parent-death signal when the *thread* that started the child ends, so the
        # thread that waits for the child's exit starts it.
        self._run("life", self._run_process, environment)
        self._started.wait()
        if self._start_error is not None:
            raise self._start_error

    def _run_process(self, environment: Mapping[str, str]) -> None:
        try:
            process, self.exec_at_s = spawn(self.argv, environment, self._surroundings)
        except BaseException as error:  # noqa: BLE001 - raised again in start()
            self._start_error = error
            self._started.set()
            return
        self._wakeup_reader, self._wakeup_writer = socket.socketpair()
        self._process = process
        for stream, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            assert pipe is not None
            self._run(stream, self._drain, stream, pipe)
        self._started.set()
        if hasattr(os, "waitid"):
            # Wait without reaping, so that no signal can hit another process with a reused PID.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._signal_lock:
            self.exit_code = process.wait()
            actions = list(self._at_exit)
            self._exited.set()
        for action in actions:
            action(self.exit_code)

    def _await_handshake(self, runtime: RuntimeService) -> str:
        is_late = not runtime.wait(self._handshake_timeout_s) and self.alive
        if is_late or runtime.address is None:
            # Its last lines may not have been read yet.
            self.stop()
        if is_late:
            raise HandshakeFailed("vm process not found", tuple(self.output))
        if runtime.refusal is not None:
            refusal = runtime.refusal
            raise ProtocolMismatch(
                str(refusal), host=refusal.host, plugin=refusal.plugin, output=tuple(self.output)
            )
        if runtime.address is None:
            raise EndedBeforeHandshake(
                "vm process not found", exit_code=self.exit_code, output=tuple(self.output)
            )
        assert runtime.called_at_s is not None
        self.handshake_s = runtime.called_at_s - self.exec_at_s
        return runtime.address

    def _drain(self, stream: str, pipe: IO[bytes]) -> None:
        lines = LogStream(lambda line: self._show(stream, line))
        with pipe, selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            selector.register(self._wakeup_reader, selectors.EVENT_READ)
            while any(key.fileobj is pipe for key, _ in selector.select()):
                data = pipe.read(_READ_BYTES)
                if not data:
                    break
                lines.feed(data)
        lines.end()
        # A node stops a plugin that closes a stream.
        self._exited.wait(ENDING_S)
        self.stop()

    def _show(self, stream: str, line: str) -> None:
        self.output.append(line)
        if self._log is None:
            return
        try:
            self._log(stream, line)
        except Exception:  # noqa: BLE001 - read on, or the plugin would block
            _log.exception("the log callback failed")

    def _run(self, name: str, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name=f"plugin-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    # Stop -----------------------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """The process ID; None before `start`."""
        return None if self._process is None else self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and not self._exited.is_set()

    def stop(self) -> int | None:
        """Stop the process like a node: SIGTERM, 5 s, SIGKILL. Returns the exit code. Idempotent.

        On Windows, which has no SIGTERM, the process is killed at once.
        """
        if self._threads:
            # If start() was interrupted, the process may be about to start.
            self._started.wait()
        if self._process is None:
            return None
        with self._stop_lock:
            if not self._stopped:
                self._stopped = True
                if sys.platform == "win32" or not self.send_signal(signal.SIGTERM):
                    self._kill()
                elif not self._exited.wait(self._stop_timeout_s):
                    _log.warning("plugin %s did not exit in time: killing it", self.argv[0])
                    self._kill()
        self._exited.wait()
        if threading.current_thread() not in self._threads:
            self._join()
        return self.exit_code

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(_LAST_OUTPUT_TIMEOUT_S)
        # A grandchild may hold a pipe open forever.
        self._wakeup_writer.close()
        for thread in self._threads:
            thread.join()
        self._wakeup_reader.close()

    def kill(self) -> int | None:
        """Kill the process with SIGKILL, as in a crash. Returns the exit code."""
        self._kill()
        return self.stop()

    def send_signal(self, number: int) -> bool:
        """Send a signal. Returns False if the process has exited."""
        with self._signal_lock:
            if self._process is None or self._exited.is_set():
                return False
            # Popen.send_signal would reap the process, whose exit another thread waits for.
            os.kill(self._process.pid, number)
            return True

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait until the process exits. Returns its exit code, or None if it still runs."""
        self._exited.wait(timeout_s)
        return self.exit_code

    def at_exit(self, action: Callable[[int], None]) -> None:
        """Call *action* with the exit code when the process has exited (at once, if it has)."""
        with self._signal_lock:
            if not self._exited.is_set() or self.exit_code is None:
                self._at_exit.append(action)
                return
        action(self.exit_code)

    def _kill(self) -> None:
        self.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<PluginProcess {self.argv[0]} pid={self.pid}>"


def _argv(command: Sequence[str] | Path) -> list[str]:
    argv = [str(command)] if isinstance(command, (Path, str)) else [str(item) for item in command]
    if os.sep not in argv[0]:
        # The plugin's environment has no PATH.
        argv[0] = shutil.which(argv[0]) or os.path.join(os.curdir, argv[0])
    return argv
