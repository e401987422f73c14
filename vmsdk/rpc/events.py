"""WaitForEvent: the node asks for events (from protocol 42)."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.rpc.dispatch import Cancelled, Dispatcher, Handler
from vmsdk.rpc.session import Session


class Events:
    """Answers the node's question when there is something to tell."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def handlers(self) -> Iterator[Handler]:
        if self._session.protocol.waits_for_events:
            yield Dispatcher(self._session).waiting(VM.WaitForEvent, self.wait_for_event)

    def wait_for_event(self, request: Empty, context: grpc.ServicerContext) -> vm_pb2.WaitForEventResponse:
        self._session.check_ready()
        wait = self._session.events.begin()
        if not context.add_callback(wait.cancel):
            wait.cancel()
        event = self._session.events.wait(wait)
        if event is None:
            raise Cancelled
        if wait.cancelled.is_set():
            self._session.events.untold(event)
            raise Cancelled
        return vm_pb2.WaitForEventResponse(message=vm_pb2.Message.ValueType(event))
