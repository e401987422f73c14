"""The handshake: how a plugin's process announces itself."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import Severity, Violation, contract


@contract("handshake", severity=Severity.STOPS, source="vms/registry/vm_getter.go")
def version_before_initialize(bench: Bench) -> None:
    """A node asks for the version first, without initialising the VM, and shuts the plugin down."""
    with bench.connected() as host:
        version = bench.raw(host, "Version", Empty()).version
        if not version:
            raise Violation(
                "the VM has no version",
                sent="Version before Initialize",
                got="an empty text",
                node="it shows an empty version in info.getNodeVersion",
                cure="return any text that names the release",
            )
