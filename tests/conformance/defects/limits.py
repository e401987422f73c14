"""Defects that show at a limit: sizes, numbers, descriptors, memory, and time."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any, ClassVar

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError

from tests.conformance.goodvm import UNLIMITED, Block, GoodVM
from vmsdk._pb.http import http_pb2
from vmsdk._pb.vm import vm_pb2 as pb


class BlockedHealth(GoodVM):
    """It has a few threads, and each WaitForEvent takes one."""

    found_by = "limits.health-does-not-wait-for-events"
    workers = 16


class VersionNeedsInitialize(GoodVM):
    """Its version is in its state."""

    found_by = "limits.version-returns-any-time"

    def Version(self, request: Empty) -> pb.VersionResponse:
        return pb.VersionResponse(version=f"good/{self.tip().height}")


class RefusesCalls(GoodVM):
    """It refuses a call while 16 others run."""

    found_by = "limits.many-calls-at-once"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.room = threading.Semaphore(16)

    def respond(self, name: str, request: Any, context: grpc.ServicerContext) -> Any:
        if not self.room.acquire(blocking=False):
            raise RuntimeError("too many calls")
        try:
            if name == "GetBlock":
                threading.Event().wait(0.5)
            return super().respond(name, request, context)
        finally:
            self.room.release()


class FourMebibytes(GoodVM):
    """It has gRPC's default limit for messages."""

    found_by = "limits.messages-over-4-mib"
    options: ClassVar[list[tuple[str, int]]] = [
        (name, value) for name, value in UNLIMITED if "length" not in name
    ]


class SixteenMebibytes(GoodVM):
    """It has set a limit for messages."""

    found_by = "limits.messages-of-64-mib"
    options: ClassVar[list[tuple[str, int]]] = [
        (name, 1 << 24 if "length" in name else value) for name, value in UNLIMITED
    ]


class EndsOnOtherBytes(GoodVM):
    """A connection that does not begin like HTTP/2 ends the process."""

    found_by = "limits.bytes-that-are-not-grpc"

    def announce(self) -> None:
        front = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.forward, args=(front, self.address), daemon=True).start()
        self.address = f"127.0.0.1:{front.getsockname()[1]}"
        super().announce()

    def forward(self, front: socket.socket, address: str) -> None:
        host, port = address.split(":")
        while True:
            client, _ = front.accept()
            server = socket.create_connection((host, int(port)))
            for pair, looks in (((client, server), True), ((server, client), False)):
                threading.Thread(target=self.copy, args=(*pair, looks), daemon=True).start()

    @staticmethod
    def copy(source: socket.socket, target: socket.socket, looks: bool) -> None:
        while data := source.recv(65_536):
            if looks and not data.startswith(b"PRI"):
                os._exit(1)
            looks = False
            target.sendall(data)
        target.close()


class StopsListeningOnOtherBytes(EndsOnOtherBytes):
    """A connection that does not begin like HTTP/2 is the last one that it accepts."""

    found_by = "limits.bytes-that-are-not-grpc"

    def forward(self, front: socket.socket, address: str) -> None:
        host, port = address.split(":")
        while True:
            client, _ = front.accept()
            if not client.recv(3, socket.MSG_PEEK).startswith(b"PRI"):
                break
            server = socket.create_connection((host, int(port)))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self.copy, args=(*pair, False), daemon=True).start()
        client.close()
        front.close()


class EndsOnBadProtobuf(GoodVM):
    """A request that can't be decoded ends the process."""

    found_by = "limits.requests-that-are-not-protobuf"

    def decoder(self, method: Any) -> Any:
        def decode(data: bytes) -> Any:
            try:
                return method.request.FromString(data)
            except DecodeError:
                os._exit(1)

        return decode


class EndsWithoutDescriptors(GoodVM):
    """Health opens a file, and the process ends if it can't."""

    found_by = "limits.runs-out-of-descriptors"

    def Health(self, request: Empty) -> pb.HealthResponse:
        try:
            open(os.devnull, encoding="utf-8").close()
        except OSError:
            os._exit(1)
        return super().Health(request)


class KeepsGarbage(GoodVM):
    """It remembers what it could not parse."""

    found_by = "limits.memory-stays-flat"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.bad: list[bytes] = []

    def ParseBlock(self, request: pb.ParseBlockRequest) -> pb.ParseBlockResponse:
        try:
            return super().ParseBlock(request)
        except ValueError:
            self.bad.append(request.bytes)
            raise


class KeepsGossip(GoodVM):
    """It remembers all gossip."""

    found_by = "limits.memory-stays-flat"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.seen: set[bytes] = set()

    def AppGossip(self, request: pb.AppGossipMsg) -> Empty:
        self.seen.add(request.msg)
        return Empty()


class TooManyPings(GoodVM):
    """It allows a ping each five minutes, as gRPC does by default."""

    found_by = "limits.stays-connected-when-idle"
    options: ClassVar[list[tuple[str, int]]] = [
        (name, value) for name, value in UNLIMITED if "ping" not in name and "keepalive" not in name
    ]


class LeaksDescriptors(GoodVM):
    """Health opens a file and does not close it."""

    found_by = "limits.descriptors-stay-few"

    def Health(self, request: Empty) -> pb.HealthResponse:
        os.open("/dev/null", os.O_RDONLY)
        return super().Health(request)


class LeaksThreads(GoodVM):
    """Each HTTP request starts a thread that does not end."""

    found_by = "limits.descriptors-stay-few"

    def HandleSimple(self, request: http_pb2.HandleSimpleHTTPRequest) -> http_pb2.HandleSimpleHTTPResponse:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        return super().HandleSimple(request)


class Spins(GoodVM):
    """It looks for work in a loop."""

    found_by = "limits.idleness-costs-no-processor"

    def SetState(self, request: pb.SetStateRequest) -> pb.SetStateResponse:
        threading.Thread(target=self.spin, daemon=True).start()
        return super().SetState(request)

    def spin(self) -> None:
        while not self.shut_down.is_set():
            pass


class KeepsRequests(GoodVM):
    """It remembers all HTTP requests."""

    found_by = "limits.memory-stays-flat"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.kept: list[bytes] = []

    def HandleSimple(self, request: http_pb2.HandleSimpleHTTPRequest) -> http_pb2.HandleSimpleHTTPResponse:
        self.kept.append(request.body)
        return super().HandleSimple(request)


class HealthKeepsItsResults(GoodVM):
    """It remembers what Health has returned, with a copy of its tables."""

    found_by = "limits.memory-stays-flat"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.kept: list[bytes] = []

    def Health(self, request: Empty) -> pb.HealthResponse:
        self.kept.append(os.urandom(65_536))
        return super().Health(request)


class LocksInTwoOrders(GoodVM):
    """A transaction locks the mempool, then the chain; BuildBlock does so the other way round."""

    found_by = "limits.calls-of-all-kinds-at-once"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.mempool = threading.Lock()

    def respond(self, name: str, request: Any, context: grpc.ServicerContext) -> Any:
        if name != "HandleSimple":
            return super().respond(name, request, context)
        with self.mempool:
            threading.Event().wait(0.2)
            return super().respond(name, request, context)

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        threading.Event().wait(0.2)
        with self.mempool:
            return super().BuildBlock(request)


class LeaksStreams(GoodVM):
    """Each upgrade opens a file and does not close it."""

    found_by = "limits.descriptors-stay-few"

    def Handle(self, request: http_pb2.HTTPRequest) -> http_pb2.HTTPResponse:
        os.open(os.devnull, os.O_RDONLY)
        return super().Handle(request)


class LeaksWhatOthersHide(LeaksDescriptors):
    """An upgrade keeps a file open for two seconds, and Health one for good."""

    found_by = "limits.descriptors-stay-few"

    def Handle(self, request: http_pb2.HTTPRequest) -> http_pb2.HTTPResponse:
        kept = os.open(os.devnull, os.O_RDONLY)
        timer = threading.Timer(2.0, os.close, [kept])
        timer.daemon = True
        timer.start()
        return super().Handle(request)


class LeavesZombies(GoodVM):
    """Health runs a program, and does not wait for its end."""

    found_by = "limits.descriptors-stay-few"

    def Health(self, request: Empty) -> pb.HealthResponse:
        os.posix_spawn("/bin/true", ["true"], {})
        return super().Health(request)


class SpinsAfterAClient(GoodVM):
    """A WebSocket's thread asks again and again whether there is news, also when it is closed."""

    found_by = "limits.idleness-costs-no-processor"

    def Handle(self, request: http_pb2.HTTPRequest) -> http_pb2.HTTPResponse:
        def spin() -> None:
            while not self.shut_down.is_set():
                pass

        threading.Thread(target=spin, daemon=True).start()
        return super().Handle(request)


class BlocksWithoutABound(GoodVM):
    """A transaction takes 16 KiB in a block, and a block contains all that are pending."""

    found_by = "limits.blocks-fit-into-a-message"
    padding = bytes(16 * 1024)

    def parse(self, data: bytes) -> Block:
        end = len(data)
        while data[:end].endswith(self.padding):
            end -= len(self.padding)
        short = super().parse(data[:end])
        return Block(data, short.height, short.seconds, short.parent_id, short.body)

    def BuildBlock(self, request: pb.BuildBlockRequest) -> pb.BuildBlockResponse:
        built = self.parse(super().BuildBlock(request).bytes)
        return self.response_of(self.parse(built.raw + self.padding * len(built.transactions)))


class SmallMempool(GoodVM):
    """No defect: it refuses transactions while two are pending."""

    room: ClassVar[int] = 2

    def HandleSimple(self, request: http_pb2.HandleSimpleHTTPRequest) -> http_pb2.HandleSimpleHTTPResponse:
        if request.method == "POST" and len(self.pending) >= self.room:
            return http_pb2.HandleSimpleHTTPResponse(code=503, body=b"the mempool is full")
        return super().HandleSimple(request)


class LargeBlocksOfASmallMempool(SmallMempool, BlocksWithoutABound):
    """It takes 200 transactions at a time, but a block has no room for them all."""

    found_by = "limits.blocks-fit-into-a-message"
    room = 200
