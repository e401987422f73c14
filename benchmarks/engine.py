"""The engine's calls: ParseBlock, and the whole cycle of a block, against bare grpcio."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from benchmarks import contenders
from benchmarks.table import Row, compare, markdown, per_second
from vmsdk._pb.http import http_pb2
from vmsdk._pb.http.http_grpc import HTTP
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.node import Host

PARSES = 400
CYCLES = 50
BODY = b'{"jsonrpc":"2.0","id":1,"method":"timestampvm.proposeBlock","params":{"data":"0x%08x"}}'


class Contender:
    """A plugin in normal operation, called by bare stubs: what the driver adds is the same for
    all.
    """

    def __init__(self, command: list[str], stack: ExitStack) -> None:
        self.host = stack.enter_context(Host(command, protocol=contenders.PROTOCOL))
        self.host.chain.end_events()
        client = self.host.client
        channel = stack.enter_context(grpc.insecure_channel(self.host.chain.handlers[""]))
        self.parse = _stub(client.channel, "/vm.VM/ParseBlock", pb.ParseBlockRequest, pb.ParseBlockResponse)
        self.wait = _stub(client.channel, "/vm.VM/WaitForEvent", Empty, pb.WaitForEventResponse)
        self.build = _stub(client.channel, "/vm.VM/BuildBlock", pb.BuildBlockRequest, pb.BuildBlockResponse)
        self.verify = _stub(
            client.channel, "/vm.VM/BlockVerify", pb.BlockVerifyRequest, pb.BlockVerifyResponse
        )
        self.prefer = _stub(client.channel, "/vm.VM/SetPreference", pb.SetPreferenceRequest, Empty)
        self.accept = _stub(client.channel, "/vm.VM/BlockAccept", pb.BlockAcceptRequest, Empty)
        self.http = _stub(
            channel, HTTP.HandleSimple.path, HTTP.HandleSimple.request, HTTP.HandleSimple.response
        )
        self.proposed = 0

    def parses_per_second(self) -> float:
        # Different blocks, so that no memory of parsed ones helps.
        blocks = []
        for _ in range(PARSES):
            self.proposed += 1
            blocks.append(bytes(32) + self.proposed.to_bytes(8, "big") + bytes(8) + bytes(32))

        def work() -> None:
            for block in blocks:
                self.parse(pb.ParseBlockRequest(bytes=block))

        return per_second(work, PARSES)

    def cycle(self) -> None:
        """Propose by HTTP, wait for the event, build, verify, prefer, accept."""
        self.proposed += 1
        event = self.wait.future(Empty())
        response = self.http(
            http_pb2.HandleSimpleHTTPRequest(
                method="POST",
                url="/ext/bc/chain",
                request_headers=[http_pb2.Element(key="Content-Type", values=["application/json"])],
                body=BODY % self.proposed,
            )
        )
        assert response.code == 200
        event.result()
        block = self.build(pb.BuildBlockRequest())
        self.verify(pb.BlockVerifyRequest(bytes=block.bytes))
        self.prefer(pb.SetPreferenceRequest(id=block.id))
        self.accept(pb.BlockAcceptRequest(id=block.id))

    def cycles_per_second(self) -> float:
        def work() -> None:
            for _ in range(CYCLES):
                self.cycle()

        return per_second(work, CYCLES)

    def database_calls_per_block(self) -> tuple[float, float]:
        """Writes and all other calls of the node's database, for each block of a round."""
        database = self.host.services.database
        before = database.calls.copy()
        self.cycles_per_second()
        calls = database.calls - before
        writes = calls.pop("WriteBatch", 0)
        return writes / CYCLES, calls.total() / CYCLES


def run() -> list[Row]:
    """Measure both contenders side by side."""
    with ExitStack() as stack:
        ours = Contender(contenders.example(), stack)
        floor = Contender(contenders.bare(), stack)
        for contender in (ours, floor):
            contender.cycles_per_second()
        rows = [
            compare(
                "ParseBlock vs. a bare grpcio handler",
                "/s",
                ours.parses_per_second,
                floor.parses_per_second,
                goal="at least 1.3",
            ),
            compare(
                "whole block cycles vs. a bare grpcio VM",
                "/s",
                ours.cycles_per_second,
                floor.cycles_per_second,
                goal="at least 1.0",
            ),
        ]
        writes, others = ours.database_calls_per_block()
        rows.append(Row("database writes of an accepted block", writes, 0, "calls", 0, "1"))
        rows.append(Row("other database calls of an accepted block", others, 0, "calls", 0, "0"))
        return rows


class _Stub:
    def __init__(self, channel: grpc.Channel, path: str, request: Any, response: Any) -> None:
        multicallable = channel.unary_unary(
            path, request_serializer=request.SerializeToString, response_deserializer=response.FromString
        )
        self._call: Callable[..., Any] = partial(multicallable, wait_for_ready=True)
        self.future: Callable[..., Any] = partial(multicallable.future, wait_for_ready=True)

    def __call__(self, request: Any) -> Any:
        return self._call(request)


def _stub(channel: grpc.Channel, path: str, request: Any, response: Any) -> _Stub:
    return _Stub(channel, path, request, response)


if __name__ == "__main__":
    print(markdown(run()))
