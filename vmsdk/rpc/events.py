"""Sends events to the node: in response to WaitForEvent (from protocol 42), or from a thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.errors import VMError
from vmsdk.rpc.dispatch import Cancelled, Dispatcher, Handler
from vmsdk.rpc.errors import FaultLog
from vmsdk.rpc.eventsource import EventSource
from vmsdk.rpc.session import Session
from vmsdk.state import Event

if TYPE_CHECKING:
    from vmsdk.services.messenger import MessengerClient

# The node reacts to a message when its engine is free, and may drop one while it bootstraps. It is
# harmless to send it again: the node's queue holds one message, and refuses another.
RESEND_S = 5.0
FULL_QUEUE_S = 0.1


class Events:
    """WaitForEvent: returns when there is an event."""

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
            self._session.events.not_reported(event)
            raise Cancelled
        return vm_pb2.WaitForEventResponse(message=vm_pb2.Message.ValueType(event))


class Notifier:
    """A thread that sends each event, and sends it again if the node does not react."""

    def __init__(
        self, events: EventSource, messenger: MessengerClient, faults: FaultLog, log: logging.Logger
    ) -> None:
        self._events = events
        self._messenger = messenger
        self._faults = faults
        self._log = log
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vmsdk-notifier", daemon=True)

    def start(self) -> None:
        """Start sending events."""
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more. Close the event source first, so that its wait ends."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                event = self._events.wait(self._events.begin())
                if event is None:
                    return  # the chain is shutting down
                self._send(event)
            except BaseException as error:  # noqa: BLE001 - the author's wait_for_event; the thread must not end
                self._faults.record("wait_for_event", error, "vmsdk calls it again in 100 ms")
                self._stopped.wait(FULL_QUEUE_S)

    def _send(self, event: Event) -> None:
        reactions = self._events.count_reactions(event)
        try:
            queued = self._messenger.notify(event)
        except VMError as error:
            if not self._stopped.is_set():
                self._log.warning("the node did not accept the event %s: %s", event.name, error)
            queued = False
        if queued:
            self._events.queued(event)
        else:
            self._events.not_reported(event)
        self._events.wait_for_reaction(event, reactions, RESEND_S if queued else FULL_QUEUE_S)
