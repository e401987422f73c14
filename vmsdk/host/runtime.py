"""The service `vm.runtime.Runtime`, by which a new plugin process announces itself."""

from __future__ import annotations

import re
import threading
import time

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm.runtime import runtime_pb2 as pb
from vmsdk._pb.vm.runtime.runtime_grpc import Runtime
from vmsdk.host.service import NodeService
from vmsdk.protocol import Protocol

# From this release on, a node prints its version as `client/1.2.3`; before, as `v1.2.3`.
_SLASHED_VERSION_SINCE = (1, 14, 1)


class VersionRefused(Exception):
    """The plugin speaks a different protocol version from the host. The text is the node's."""

    def __init__(self, protocol: Protocol, plugin_version: int, path: str) -> None:
        self.host = protocol.version
        self.plugin = plugin_version
        located = f" located at {path}" if protocol.mismatch_names_path else ""
        super().__init__(
            "RPCChainVM protocol version mismatch between AvalancheGo and Virtual Machine plugin. "
            f"AvalancheGo version {release(protocol)} implements RPCChainVM protocol version "
            f"{protocol.version}. The VM{located} implements RPCChainVM protocol version {plugin_version}. "
            "Please make sure that there is an exact match of the protocol versions. This can be achieved by "
            "updating your VM or running an older/newer version of AvalancheGo. Please be advised that some "
            "virtual machines may not yet support the latest RPCChainVM protocol version"
        )


class RuntimeService(NodeService):
    """Accepts the first announcement; later ones get the same response and change nothing.

    Refuses versions other than *protocol*, if that is not None. *path* is the plugin's, for the
    error text.
    """

    service = Runtime

    def __init__(self, protocol: Protocol | None, path: str) -> None:
        super().__init__()
        self._protocol = protocol
        self._path = path
        self._lock = threading.Lock()
        self._called = threading.Event()
        self.address: str | None = None
        """Where the plugin claims to serve ``vm.VM``, unchecked."""
        self.version: int | None = None
        """The protocol version that it announced."""
        self.refusal: VersionRefused | None = None
        self.called_at_s: float | None = None
        """The `time.perf_counter` of the first announcement."""

    def wait(self, timeout_s: float) -> bool:
        """Wait for the first announcement. Returns False if there is none in time."""
        return self._called.wait(timeout_s)

    def give_up(self) -> None:
        """Make `wait` return, because the process has exited."""
        self._called.set()

    def Initialize(self, request: pb.InitializeRequest) -> Empty:
        with self._lock:
            if self.called_at_s is None:
                self.called_at_s = time.perf_counter()
                self.version, expected = request.protocol_version, self._protocol
                if expected is None or expected.version == self.version:
                    self.address = request.addr
                else:
                    self.refusal = VersionRefused(expected, self.version, self._path)
                self._called.set()
        if self.refusal is not None:
            raise self.refusal
        return Empty()


def release(protocol: Protocol) -> str:
    """Return the version of the newest AvalancheGo that speaks *protocol*, the way it prints it."""
    text, *numbers = _newest(protocol).groups()
    slashed = tuple(map(int, numbers)) >= _SLASHED_VERSION_SINCE
    return f"avalanchego/{text}" if slashed else f"v{text}"


def release_number(protocol: Protocol) -> str:
    """Return the number of that version, such as `1.14.2`."""
    return str(_newest(protocol)[1])


def _newest(protocol: Protocol) -> re.Match[str]:
    newest = next(name for name in protocol.releases if name.startswith("AvalancheGo")).split()[-1]
    match = re.fullmatch(r"(?:[\d.]+-)?((\d+)\.(\d+)\.(\d+).*)", newest)
    assert match is not None, f"the protocol table has a release without a version: {newest}"
    return match
