"""A VM of nothing but grpcio: what tests of the host run, as a process (bare_vm.py VERSION
MANNERS…) or in their own.

It is the good VM of the conformance tests with blocks that are easier to make: each has one payload
of any bytes, and is a second younger than its parent.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[3])

from tests.conformance.goodvm import HEADER, Block, GoodVM
from vmsdk._pb.vm import vm_pb2 as pb

GENESIS = bytes(HEADER.size)


def block_bytes(height: int, timestamp: int, parent_id: bytes, payload: bytes = b"") -> bytes:
    return HEADER.pack(height, timestamp, parent_id) + payload


def block_id(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class BareVM(GoodVM):
    """Tests override methods, or look at `calls` and `undecided`."""

    def __init__(self) -> None:
        super().__init__(45)
        self.calls: list[tuple[str, Any]] = []
        self.request = pb.InitializeRequest()

    def respond(self, name: str, request: Any, context: grpc.ServicerContext) -> Any:
        """Run one call, beside others."""
        self.calls.append((name, request))
        method = getattr(self, name)
        return method(request, context) if name == "WaitForEvent" else method(request)

    def changed(self) -> None:
        """Report work to `WaitForEvent` only."""
        with self.wake:
            self.wake.notify_all()

    def parse(self, data: bytes) -> Block:
        if len(data) < HEADER.size:
            raise ValueError("too short for a block")
        height, seconds, parent_id = HEADER.unpack_from(data)
        return Block(data, height, seconds, parent_id, data[HEADER.size :])

    def verify(self, block: Block) -> None:
        if self.find(block.parent_id) is None:
            raise ValueError("unknown parent")
        self.undecided[block.id] = block

    def writes(self, block: Block) -> dict[bytes, bytes]:
        height = block.height.to_bytes(8, "big")
        return {b"block" + block.id: block.raw, b"height" + height: block.id, b"last": block.id}

    def propose(self, payload: bytes) -> None:
        with self.wake:
            self.pending.append(payload)
        self.changed()

    def has_work(self) -> bool:
        return bool(self.pending)

    # vm.VM

    def Initialize(self, request: pb.InitializeRequest) -> pb.InitializeResponse:
        self.request = request
        return super().Initialize(request)

    def CreateHandlers(self, request: Empty) -> pb.CreateHandlersResponse:
        return pb.CreateHandlersResponse()

    def AppRequest(self, request: pb.AppRequestMsg) -> Empty:
        return Empty()

    def Version(self, request: Empty) -> pb.VersionResponse:
        return pb.VersionResponse(version="bare/1.0.0")

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        if not self.pending:
            raise ValueError("nothing to build")
        parent = self.find(self.preferred)
        assert parent is not None
        data = block_bytes(parent.height + 1, parent.seconds + 1, parent.id, self.pending.pop(0))
        return self.response_of(self.parse(data))


def serve(vm: BareVM) -> tuple[grpc.Server, str]:
    """A running server of *vm*, and its address."""
    return vm.serve(), vm.address


class PluginVM(BareVM):
    """As a process: in normal operation it has as many blocks to build as its configuration
    says.
    """

    def SetState(self, request: pb.SetStateRequest) -> pb.SetStateResponse:
        if request.state == pb.STATE_NORMAL_OP:
            for number in range(int(self.request.config_bytes or b"0")):
                self.propose(b"%d" % number)
        return super().SetState(request)


class HangingVM(PluginVM):
    """Never returns from BuildBlock."""

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        print("hanging", flush=True)
        while True:
            threading.Event().wait()


def main(version: int, manners: set[str]) -> None:
    """The life of a plugin: SIGTERM counts once Shutdown has been called. With bad manners:

    ``mortal``: SIGTERM ends it at once. ``deaf``: SIGTERM never ends it. ``close1``, ``close2``: it
    closes that descriptor after the announcement. ``hang``: it never builds a block.
    """
    parent = os.getppid()
    vm = HangingVM() if "hang" in manners else PluginVM()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "mortal" not in manners:
        # Blocked in every thread and awaited, since a handler that runs just before the main thread
        # waits for a lock can't wake it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server = vm.serve()
    vm.protocol = version
    vm.announce()
    print("serving", flush=True)
    for descriptor in (1, 2):
        if f"close{descriptor}" in manners:
            os.close(descriptor)
    while "mortal" in manners:
        signal.pause()
    while True:
        signal.sigwait({signal.SIGTERM})
        if "deaf" not in manners and (vm.shut_down.is_set() or os.getppid() != parent):
            break
    server.stop(1).wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), set(sys.argv[2:]))
