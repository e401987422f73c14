"""Gather: the node scrapes the chain's metrics."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.rpc.dispatch import Dispatcher, Handler
from vmsdk.rpc.session import Session


class Gather:
    """Gives the page of metrics; an empty one before Initialize, when old nodes already ask."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def handlers(self) -> Iterator[Handler]:
        yield Dispatcher(self._session).free(VM.Gather, self.gather)

    def gather(self, request: Empty) -> vm_pb2.GatherResponse:
        if not self._session.initialized:
            return vm_pb2.GatherResponse()
        return vm_pb2.GatherResponse(metric_families=self._session.metrics.gather())
