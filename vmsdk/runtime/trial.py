"""A trial start of a plugin, as by a node: handshake, Version, Shutdown, SIGTERM."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm.runtime.runtime_grpc import Runtime
from vmsdk._pb.vm.runtime.runtime_pb2 import InitializeRequest
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.errors import VMError
from vmsdk.runtime.engine import ENGINE_ADDRESS_VARIABLE
from vmsdk.services.channel import connect_by_grpcio

# A node waits 5 s, but the first start compiles every module.
HANDSHAKE_TIMEOUT_S = 60.0
# A node sets no limit for the author's imports, which come after the handshake.
IMPORT_TIMEOUT_S = 120.0
# A node gives 5 s, at whose end a plugin has ended by itself; but the machine may be busy.
STOP_TIMEOUT_S = 20.0
_POLL_S = 0.05
_OUTPUT_BYTES = 16 * 1024


def start_and_stop(
    command: Sequence[str], user: str | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Start *command* as a plugin, stop it, and return the VM's version.

    Runs it as the operating system's user *user*, if given, which only root can do, and with
    *environment* in addition to what a node sets. Raises `VMError`, with the end of the plugin's
    output, if it doesn't start or end as a node expects.
    """
    engine = _Engine()
    try:
        with tempfile.TemporaryFile() as output:
            variables = {**(environment or {}), ENGINE_ADDRESS_VARIABLE: engine.address}
            process = _spawn(command, variables, output, user)
            try:
                return _register(process, engine)
            except VMError as error:
                process.kill()
                process.wait()
                raise VMError(f"{error}\n{_tail(output)}".strip()) from None
            finally:
                process.kill()
                process.wait()
    finally:
        engine.close()


def _spawn(
    command: Sequence[str], environment: Mapping[str, str], output: IO[bytes], user: str | None
) -> subprocess.Popen[bytes]:
    identity: dict[str, Any] = {}
    if user is not None:
        import pwd

        entry = pwd.getpwnam(user)
        groups = os.getgrouplist(user, entry.pw_gid)
        identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}
    try:
        return subprocess.Popen(
            command,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            **identity,
        )
    except OSError as error:
        raise VMError(error.strerror or str(error)) from None


def _register(process: subprocess.Popen[bytes], engine: _Engine) -> str:
    deadline_s = time.monotonic() + HANDSHAKE_TIMEOUT_S
    while not engine.plugin.wait(_POLL_S):
        if process.poll() is not None:
            raise VMError(_ending(process.returncode))
        if time.monotonic() > deadline_s:
            raise VMError(f"no handshake within {HANDSHAKE_TIMEOUT_S:.0f} s")
    with connect_by_grpcio(engine.plugin_address) as channel:
        version = VM.Version.on(channel)
        shutdown = VM.Shutdown.on(channel)
        done = threading.Event()
        call = version.future(Empty(), timeout=IMPORT_TIMEOUT_S, wait_for_ready=True)
        call.add_done_callback(lambda _: done.set())
        while not done.wait(_POLL_S):
            if process.poll() is not None:  # the call would go on trying to connect
                raise VMError(_ending(process.returncode))
        try:
            found = call.result().version
            shutdown(Empty(), timeout=STOP_TIMEOUT_S)
        except grpc.RpcError as error:
            raise VMError(_failure(process, error)) from None
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise VMError(f"it did not exit within {STOP_TIMEOUT_S:.0f} s of Shutdown and SIGTERM") from None
    return str(found)


def _failure(process: subprocess.Popen[bytes], error: grpc.RpcError) -> str:
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"importing it takes over {IMPORT_TIMEOUT_S:.0f} s, or its version or shutdown hangs"
    try:
        return _ending(process.wait(_POLL_S))
    except subprocess.TimeoutExpired:
        return error.details() or error.code().name


def _ending(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"ended by signal {-status}"


def _tail(output: IO[bytes]) -> str:
    size = output.seek(0, 2)
    output.seek(max(0, size - _OUTPUT_BYTES))
    return output.read().decode("utf-8", "replace").strip()


class _Engine:
    """The node's side of the handshake."""

    def __init__(self) -> None:
        self.plugin = threading.Event()
        """Set when a plugin has called."""
        self.plugin_address = ""
        handler = Runtime.Initialize.handler(self._initialize)
        self._server = grpc.server(ThreadPoolExecutor(1))
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(Runtime.full_name, {"Initialize": handler}),)
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def _initialize(self, request: InitializeRequest, context: grpc.ServicerContext) -> Empty:
        self.plugin_address = request.addr
        self.plugin.set()
        return Empty()

    def close(self) -> None:
        self._server.stop(None).wait()
