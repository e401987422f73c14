"""What a plugin announces at its start: a protocol version, and the address where it listens."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import time

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm.runtime import runtime_pb2 as pb
from vmsdk.host.plugin import PluginProcess
from vmsdk.host.runtime import RuntimeService

# How long to wait for a second announcement.
_QUIET_S = 0.2
_CONNECT_TIMEOUT_S = 2.0
_STACK_TIMEOUT_S = 3.0


class AnnouncementService(RuntimeService):
    """Accepts any protocol version, and checks whether the address is bound at that moment."""

    def __init__(self) -> None:
        super().__init__(None, "")
        self.was_bound = False
        self.process: PluginProcess | None = None
        self.timed_out = False
        self.streams: dict[str, str] = {}
        """Where stdout and stderr lead, unless it is the node's pipe."""

    def Initialize(self, request: pb.InitializeRequest) -> Empty:  # noqa: N802 - the wire's
        with self._lock:
            if self.called_at_s is None:
                self.called_at_s = time.perf_counter()
                self.was_bound = connects(request.addr)
                self.streams = _redirected(None if self.process is None else self.process.pid)
                self.version, self.address = request.protocol_version, request.addr
                self._called.set()
        return Empty()

    def wait(self, timeout_s: float) -> bool:
        called = super().wait(timeout_s)
        if not called and self.process is not None:
            self.timed_out = True
            abort(self.process)
        deadline_s = time.monotonic() + _QUIET_S
        while self.address is not None and self.calls["Initialize"] < 2 and time.monotonic() < deadline_s:
            time.sleep(0.01)
        return called


def abort(process: PluginProcess) -> None:
    """Make the process print its stack, if it can, and exit."""
    if process.send_signal(signal.SIGABRT):
        process.wait(_STACK_TIMEOUT_S)


def connects(address: str) -> bool:
    """Return whether something listens at *address*."""
    try:
        if address.startswith("unix:"):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(_CONNECT_TIMEOUT_S)
                client.connect(address.removeprefix("unix:").removeprefix("//"))
            return True
        host, _, port = address.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_TIMEOUT_S):
            return True
    except (OSError, ValueError, OverflowError):
        return False


def is_local(address: str) -> bool:
    """Return whether only this machine can reach *address*."""
    host = address.rpartition(":")[0].strip("[]")
    if address.startswith("unix:") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _redirected(pid: int | None) -> dict[str, str]:
    """Return where stdout and stderr of the process lead, unless it is a pipe."""
    found = {}
    for number, name in ((1, "stdout"), (2, "stderr")):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{number}")
        except FileNotFoundError:
            if not os.path.isdir(f"/proc/{pid}/fd"):
                continue  # another system, or it has exited
            target = "closed"
        except OSError:
            continue
        if not target.startswith(("pipe:", "socket:")):
            found[name] = target
    return found
