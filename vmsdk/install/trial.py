"""A trial start of a plugin, as by a node: handshake, Version, Shutdown, SIGTERM."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk.errors import VMError
from vmsdk.host.client import VMClient
from vmsdk.host.errors import EndedBeforeHandshake, HandshakeFailed, PluginGone, StartFailed, ending
from vmsdk.host.plugin import PluginProcess, with_variables
from vmsdk.host.runtime import RuntimeService
from vmsdk.host.spawn import Surroundings

# A node waits 5 s, but the first start compiles every module.
HANDSHAKE_TIMEOUT_S = 60.0
# A node sets no limit for the author's imports, which come after the handshake.
IMPORT_TIMEOUT_S = 120.0
# A node gives 5 s, at whose end a plugin has ended by itself; but the machine may be busy.
STOP_TIMEOUT_S = 20.0
# For one that has not shaken hands, before it is killed.
_KILL_AFTER_S = 1.0


def start_and_stop(plugin: str, user: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Start the executable *plugin* and stop it; return the VM's version.

    Runs it as the operating system's user *user*, if given, which only root can do, and with
    *environment* in addition to what a node sets. Raises `VMError`, with the end of the plugin's
    output, if it doesn't start or end as a node expects.
    """
    variables = [f"{name}={value}" for name, value in (environment or {}).items()]
    process = PluginProcess(
        with_variables([plugin], *variables) if variables else [plugin],
        environment={},
        handshake_timeout_s=HANDSHAKE_TIMEOUT_S,
        stop_timeout_s=_KILL_AFTER_S,
        patient=False,
        runtime=RuntimeService(None, plugin),
        surroundings=Surroundings(None if user is None else _identity(user), "/"),
    )
    try:
        version = _register(process)
        process.send_signal(signal.SIGTERM)
        if process.wait(STOP_TIMEOUT_S) is None:
            raise VMError(f"it did not exit within {STOP_TIMEOUT_S:.0f} s of Shutdown and SIGTERM")
    except VMError as error:
        process.kill()
        output = "\n".join(process.output).strip()
        raise VMError(f"{_reason(error)}\n{output}".strip()) from None
    finally:
        process.kill()
    return version


def _register(process: PluginProcess) -> str:
    """Do what a node does when it registers a VM: return the version, and shut down."""
    client = VMClient(process.start(), wait=process.wait)
    process.at_exit(client.abort)
    try:
        version = str(client.Version(Empty(), IMPORT_TIMEOUT_S).version)
        client.Shutdown(Empty(), STOP_TIMEOUT_S)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise VMError(
                f"importing it takes over {IMPORT_TIMEOUT_S:.0f} s, or its version or shutdown hangs"
            ) from None
        raise VMError(error.details() or error.code().name) from None
    finally:
        client.close()
    return version


def _reason(error: VMError) -> str:
    if isinstance(error, StartFailed):
        return error.reason
    if isinstance(error, (EndedBeforeHandshake, PluginGone)):
        return f"the process ended{ending(error.exit_code)}"
    if isinstance(error, HandshakeFailed):
        return f"no handshake within {HANDSHAKE_TIMEOUT_S:.0f} s"
    return str(error)


def _identity(user: str) -> tuple[int, int, list[int]]:
    import pwd

    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid, os.getgrouplist(user, entry.pw_gid)
