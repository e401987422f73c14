"""Delivers the events of a VM to the engine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.messenger import messenger_pb2
from vmsdk._pb.messenger.messenger_grpc import Messenger
from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.client import VMClient
from vmsdk.host.errors import HostError
from vmsdk.host.service import NodeService, ServiceError

_log = logging.getLogger("vmsdk.host")

# Source: snow/engine/common/notifier.go.
RETRY_SPACING_S = 0.1


class EventSlot:
    """The engine's event queue, which has room for one event."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._event: int | None = None
        self._closed = False

    def offer(self, event: int) -> bool:
        """Put *event* in the slot. Returns False if the slot is full."""
        with self._changed:
            if self._event is not None:
                return False
            self._event = event
            self._changed.notify_all()
            return True

    def drop(self) -> None:
        with self._changed:
            self._event = None

    def take(self, timeout_s: float | None = None) -> int | None:
        """Wait for an event and take it. Returns None after *timeout_s* or after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._event is not None or self._closed, timeout_s)
            event, self._event = self._event, None
            return event

    def close(self) -> None:
        """Make every `take` return until `reopen`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def reopen(self) -> None:
        """Empty the slot, and let `take` wait again."""
        with self._changed:
            self._event, self._closed = None, False


class MessengerService(NodeService):
    """The service `messenger.Messenger`, to which VMs send events up to protocol 41.

    *offer* gets each event and returns whether the queue had room for it.
    """

    service = Messenger

    def __init__(self, offer: Callable[[int], bool]) -> None:
        super().__init__()
        self._offer = offer

    def Notify(self, request: messenger_pb2.NotifyRequest) -> messenger_pb2.NotifyResponse:
        if not self._offer(request.message):
            raise ServiceError("full message queue")
        return messenger_pb2.NotifyResponse()


class Notifier:
    """Calls WaitForEvent in a loop, as nodes do from protocol 42 on, and puts events into *slot*.

    After an event it waits for `change`, which also cancels a running call and drops an event that
    is still in the slot.
    """

    def __init__(self, client: VMClient, slot: EventSlot) -> None:
        self._client = client
        self._slot = slot
        self._condition = threading.Condition()
        self._changes = 0
        self._stopping = False
        self._call: grpc.Future[pb.WaitForEventResponse] | None = None
        self._thread = threading.Thread(target=self._run, name="wait-for-event", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def change(self) -> None:
        """Call again, because the state of the engine has changed."""
        with self._condition:
            self._changes += 1
            self._wake()

    def stop(self) -> None:
        """Cancel the call and end the loop. Idempotent."""
        with self._condition:
            self._stopping = True
            self._wake()
        if self._thread.is_alive():
            self._thread.join()

    def _wake(self) -> None:
        self._slot.drop()
        self._condition.notify_all()
        if self._call is not None:
            self._call.cancel()

    def _run(self) -> None:
        while True:
            with self._condition:
                if self._stopping:
                    return
                changes = self._changes
                try:
                    call = self._call = self._client.WaitForEvent.start(Empty())
                except HostError:
                    return
            message = self._result(call)
            with self._condition:
                self._call = None
                if self._changes != changes:
                    continue
                if message is None:
                    self._await_change(changes, RETRY_SPACING_S)
                    continue
                self._slot.offer(message)
                self._await_change(changes, None)

    def _result(self, call: grpc.Future[pb.WaitForEventResponse]) -> int | None:
        try:
            return call.result().message
        except grpc.FutureCancelledError:
            return None
        except grpc.RpcError as error:
            if not self._stopping:
                _log.debug("WaitForEvent failed: %s", error)
            return None

    def _await_change(self, changes: int, timeout_s: float | None) -> None:
        self._condition.wait_for(lambda: self._stopping or self._changes != changes, timeout_s)
