"""One plugin process: how a node starts and stops it."""

from __future__ import annotations

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
from types import TracebackType
from typing import IO

from typing_extensions import Self

from vmsdk.host.config import DEFAULT_PROTOCOL_VERSION
from vmsdk.host.errors import EndedBeforeHandshake, HandshakeFailed, ProtocolMismatch
from vmsdk.host.logstream import LogStream
from vmsdk.host.runtime import RuntimeService
from vmsdk.host.server import LoopbackServer
from vmsdk.host.spawn import spawn
from vmsdk.protocol import protocol

_log = logging.getLogger("vmsdk.host")

# Source: vms/rpcchainvm/runtime/runtime.go.
ENGINE_ADDRESS_KEY = "AVALANCHE_VM_RUNTIME_ENGINE_ADDR"
HANDSHAKE_TIMEOUT_S = 5.0
GRACEFUL_STOP_TIMEOUT_S = 5.0
# The only variables of a node that its plugins inherit.
_INHERITED_PREFIXES = ("GRPC_", "GODEBUG")
# Enough to show a traceback in the error of a failed handshake.
_REMEMBERED_LINES = 200
# How long after its end a process may still be heard, over pipes that another process holds open.
_LAST_WORDS_TIMEOUT_S = 1.0
_READ_BYTES = 64 * 1024

Log = Callable[[str, str], None]


class PluginProcess:
    """Starts *command* as a plugin: a path, or an argv whose first item is one.

    *protocol* is the version that this host speaks. *log* is called with ``"stdout"`` or ``"stderr"`` and
    one line of text without its end; *log_bytes* likewise with every byte as it comes. Both are called on
    threads of the process. *handshake_timeout_s* and *stop_timeout_s* are the node's unless a test is in
    a hurry. A node waits for the handshake of a process that has ended, too; one that is not *patient* does not.
    As a context manager it starts and stops itself.
    """

    def __init__(
        self,
        command: Sequence[str] | Path,
        *,
        protocol: int = DEFAULT_PROTOCOL_VERSION,
        log: Log | None = None,
        log_bytes: Callable[[str, bytes], None] | None = None,
        environment: Mapping[str, str] = os.environ,
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
        stop_timeout_s: float = GRACEFUL_STOP_TIMEOUT_S,
        patient: bool = True,
    ) -> None:
        self.argv = _argv(command)
        self.protocol = protocol
        self.address: str | None = None
        """Where the plugin serves ``vm.VM``; known after `start`."""
        self.exit_code: int | None = None
        """Known once the process has ended; negative for the signal that ended it."""
        self.handshake_s: float | None = None
        """Seconds from the exec to the plugin's announcement; known after `start`."""
        self.output: deque[str] = deque(maxlen=_REMEMBERED_LINES)
        """The last lines of both streams."""
        self._log = log
        self._log_bytes = log_bytes
        self._environment = environment
        self._handshake_timeout_s = handshake_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._patient = patient
        self._process: subprocess.Popen[bytes] | None = None
        # Readable once nobody reads the streams any more, although a grandchild holds them open.
        self._given_up: socket.socket
        self._give_up: socket.socket
        self._start_error: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self._started = threading.Event()
        self._exited = threading.Event()
        self._signal_lock = threading.Lock()
        self._stop_lock = threading.Lock()
        self._stopped = False
        self.exec_at_s = 0.0
        """When the plugin was executed, by `time.perf_counter`; known after `start`."""
        self._at_exit: list[Callable[[int], None]] = []

    # Start -----------------------------------------------------------------------------------------------

    def start(self) -> str:
        """Spawn and await the handshake; the plugin's address. The process is stopped if it fails.

        Raises `StartFailed`, `HandshakeFailed`, `ProtocolMismatch`. Call once.
        """
        runtime = RuntimeService(protocol(self.protocol), self.argv[0])
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
        environment = {ENGINE_ADDRESS_KEY: engine_address}
        environment.update(
            (name, value) for name, value in self._environment.items() if name.startswith(_INHERITED_PREFIXES)
        )
        # The parent-death signal comes when the thread that made the child ends, not the process: so the
        # thread that waits for the child's end is the one that makes it.
        self._run("life", self._live, environment)
        self._started.wait()
        if self._start_error is not None:
            raise self._start_error

    def _live(self, environment: Mapping[str, str]) -> None:
        try:
            process, self.exec_at_s = spawn(self.argv, environment)
        except BaseException as error:  # noqa: BLE001 - raised again where the start was asked for
            self._start_error = error
            self._started.set()
            return
        self._given_up, self._give_up = socket.socketpair()
        self._process = process
        for stream, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            assert pipe is not None
            self._run(stream, self._drain, stream, pipe)
        self._started.set()
        if hasattr(os, "waitid"):
            # Wait without reaping, so that no signal can ever hit a PID that was given to someone else.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._signal_lock:
            self.exit_code = process.wait()
            actions = list(self._at_exit)
            self._exited.set()
        for action in actions:
            action(self.exit_code)

    def _await_handshake(self, runtime: RuntimeService) -> str:
        if not runtime.wait(self._handshake_timeout_s):
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
            selector.register(self._given_up, selectors.EVENT_READ)
            while any(key.fileobj is pipe for key, _ in selector.select()):
                data = pipe.read(_READ_BYTES)
                if not data:
                    break
                if self._log_bytes is not None:
                    _shielded(self._log_bytes, stream, data)
                lines.feed(data)
        lines.end()
        # A plugin that closes a stream is stopped, healthy or not: a node takes it for dead.
        self.stop()

    def _show(self, stream: str, line: str) -> None:
        self.output.append(line)
        if self._log is not None:
            _shielded(self._log, stream, line)

    def _run(self, name: str, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name=f"plugin-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    # Stop --------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """The process ID; None before the start."""
        return None if self._process is None else self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process has been started and not ended."""
        return self._process is not None and not self._exited.is_set()

    def stop(self) -> int | None:
        """The node's stopper: SIGTERM, 5 s, SIGKILL; the exit code. At most once, repeats wait for the first.

        Where there is no SIGTERM the process is killed at once.
        """
        if self._threads:
            # An interrupted start may still be about to spawn.
            self._started.wait()
        if self._process is None:
            return None
        with self._stop_lock:
            if not self._stopped:
                self._stopped = True
                if sys.platform == "win32" or not self.send_signal(signal.SIGTERM):
                    self._kill()
                elif not self._exited.wait(self._stop_timeout_s):
                    _log.warning("plugin %s did not end in time: killing it", self.argv[0])
                    self._kill()
        self._exited.wait()
        if threading.current_thread() not in self._threads:
            self._join()
        return self.exit_code

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(_LAST_WORDS_TIMEOUT_S)
        # A grandchild may hold a pipe open for as long as it likes.
        self._give_up.close()
        for thread in self._threads:
            thread.join()
        self._given_up.close()

    def kill(self) -> int | None:
        """SIGKILL at once, as a crash would; the exit code."""
        self._kill()
        return self.stop()

    def send_signal(self, number: int) -> bool:
        """Send a signal; False if the process has ended."""
        with self._signal_lock:
            if self._process is None or self._exited.is_set():
                return False
            # Not Popen.send_signal, which would reap the process behind the back of the thread that waits.
            os.kill(self._process.pid, number)
            return True

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the end of the process; its exit code, or None if it still runs."""
        self._exited.wait(timeout_s)
        return self.exit_code

    def at_exit(self, action: Callable[[int], None]) -> None:
        """Call *action* with the exit code when the process has ended; at once if it has."""
        with self._signal_lock:
            if not self._exited.is_set() or self.exit_code is None:
                self._at_exit.append(action)
                return
        action(self.exit_code)

    def _kill(self) -> None:
        if sys.platform == "win32":
            self.send_signal(signal.SIGTERM)
        else:
            self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<PluginProcess {self.argv[0]} pid={self.pid}>"


def _argv(command: Sequence[str] | Path) -> list[str]:
    argv = [str(command)] if isinstance(command, (Path, str)) else [str(item) for item in command]
    if os.sep not in argv[0]:
        # The plugin's environment has no PATH to look it up in.
        argv[0] = shutil.which(argv[0]) or os.path.join(os.curdir, argv[0])
    return argv


def _shielded(log: Callable[..., None], stream: str, data: object) -> None:
    try:
        log(stream, data)
    except Exception:  # noqa: BLE001
        # A reader of logs that fails must not block the plugin on a full pipe.
        _log.exception("the log callback failed")
