"""Defects in the handshake."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from pathlib import Path

import grpc
from google.protobuf.empty_pb2 import Empty

from tests.conformance.goodvm import ENGINE_ADDRESS_KEY, GoodVM
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk._pb.vm.runtime import runtime_pb2
from vmsdk._pb.vm.runtime.runtime_grpc import Runtime


def sleep_for_ever() -> None:
    threading.Event().wait()


class LoadsFirst(GoodVM):
    """It loads its data before it announces itself."""

    found_by = "handshake.announces-in-time"

    def announce(self) -> None:
        threading.Event().wait(5.2)
        super().announce()


class PreparesAtItsFirstStart(GoodVM):
    """Its first start on a machine fills a cache, before the handshake. Later ones are fast."""

    found_by = "handshake.announces-in-time"

    def announce(self) -> None:
        # The host's process is the same for all starts of one run. Its start tells it from one
        # that had the same ID before.
        host = os.getppid()
        began = Path(f"/proc/{host}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
        cache = Path(tempfile.gettempdir()) / f"vmsdk-defect-{host}-{began}"
        try:
            cache.touch(exist_ok=False)
        except FileExistsError:
            cache.unlink()
        else:
            threading.Event().wait(15)  # Other work of the machine is taken off.
        super().announce()


class AnnouncedBeforeBound(GoodVM):
    """It picks a port, announces it, and binds it then."""

    found_by = "handshake.binds-before-announcing"

    def announce(self) -> None:
        bound = self.address
        with socket.socket() as unbound:
            unbound.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{unbound.getsockname()[1]}"
            super().announce()
        self.address = bound


class AnnouncedTwice(GoodVM):
    """It announces itself again, to be sure."""

    found_by = "handshake.announces-once"

    def announce(self) -> None:
        with grpc.insecure_channel(os.environ[ENGINE_ADDRESS_KEY]) as channel:
            request = runtime_pb2.InitializeRequest(protocol_version=self.protocol, addr=self.address)
            # At once: on a busy machine, a second one may come long after the first.
            for call in [Runtime.Initialize.on(channel).future(request) for _ in range(2)]:
                call.exception()


class AnnouncedByName(GoodVM):
    """It announces the name of its machine instead of an IP address."""

    found_by = "handshake.announces-a-loopback-address"

    def announce(self) -> None:
        port = self.address.rpartition(":")[2]
        self.address = f"{socket.gethostname()}:{port}"
        super().announce()


class AnnouncedAnyAddress(GoodVM):
    """It announces the address that it has bound, which stands for all interfaces."""

    found_by = "handshake.announces-a-loopback-address"

    def announce(self) -> None:
        port = self.address.rpartition(":")[2]
        self.address = f"0.0.0.0:{port}"
        super().announce()


class OnAllInterfaces(GoodVM):
    """It listens on 0.0.0.0 and announces 127.0.0.1."""

    found_by = "handshake.listens-on-loopback-only"
    interface = "0.0.0.0"


class NeedsHome(GoodVM):
    """It looks for its configuration in the home directory."""

    found_by = "handshake.starts-without-environment"

    def announce(self) -> None:
        os.listdir(os.environ["HOME"])
        super().announce()


class StaysWhenRefused(GoodVM):
    """It tries forever to find a node that speaks its protocol."""

    found_by = "handshake.ends-when-refused"

    def announce(self) -> None:
        try:
            super().announce()
        except grpc.RpcError:
            sleep_for_ever()


class WaitsForANode(GoodVM):
    """Without an engine address it serves all the same, for whoever may come."""

    found_by = "handshake.ends-without-a-node"

    def run(self) -> None:
        if "AVALANCHE_VM_RUNTIME_ENGINE_ADDR" not in os.environ:
            self.serve()
            sleep_for_ever()
        super().run()


class RetriesForEver(GoodVM):
    """It repeats the handshake until a node responds."""

    found_by = "handshake.ends-if-the-node-is-gone"

    def announce(self) -> None:
        while True:
            try:
                return super().announce()
            except grpc.RpcError:
                threading.Event().wait(0.5)


class NoVersion(GoodVM):
    """It has no version."""

    found_by = "handshake.version-before-initialize"

    def Version(self, request: Empty) -> pb.VersionResponse:
        return pb.VersionResponse()


class OlderThanAnnounced(GoodVM):
    """It announces protocol 45 but has the methods of 41."""

    found_by = "handshake.serves-its-protocol"
    lacks = ("WaitForEvent", "NewHTTPHandler")


class NoHealthService(GoodVM):
    """It does not serve grpc.health.v1.Health."""

    found_by = "handshake.serves-the-health-service"
    has_health_service = False
