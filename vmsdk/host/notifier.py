"""The loop by which a node of protocol 42 and newer asks the VM for events."""

from __future__ import annotations

import logging
import threading

import grpc
from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.host.client import VMClient
from vmsdk.host.errors import HostError
from vmsdk.host.eventslot import EventSlot

_log = logging.getLogger("vmsdk.host")

# Source: snow/engine/common/notifier.go.
RETRY_SPACING_S = 0.1


class Notifier:
    """Calls WaitForEvent and puts what comes into *slot*; then waits until something has changed.

    A change also cancels a call in flight, and drops an event that nobody has picked up.
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
        """Begin to ask."""
        self._thread.start()

    def change(self) -> None:
        """The engine's state has changed: ask again."""
        with self._condition:
            self._changes += 1
            self._wake()

    def stop(self) -> None:
        """Cancel the call and wait until the loop has ended. Harmless when repeated."""
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
