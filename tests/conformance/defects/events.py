"""Defects in reporting work."""

from __future__ import annotations

import threading
import time
from collections import deque

import grpc
from google.protobuf.empty_pb2 import Empty

from tests.conformance.goodvm import GoodVM
from vmsdk._pb.vm import vm_pb2 as pb


class BuildsByItself(GoodVM):
    """No defect: it always has a transaction of its own."""

    def new_transactions(self) -> list[bytes]:
        return super().new_transactions() or [time.time_ns().to_bytes(8, "big")]


class EdgeTriggeredEvents(GoodVM):
    """Work is reported once."""

    found_by = "events.work-is-reported-until-it-is-done"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.reported = 0

    def has_work(self) -> bool:
        return super().has_work() and len(self.pending) > self.reported

    def WaitForEvent(self, request: Empty, context: grpc.ServicerContext) -> pb.WaitForEventResponse:
        response = super().WaitForEvent(request, context)
        self.reported = len(self.pending)
        return response


class EventZero(GoodVM):
    """WaitForEvent returns the unspecified event."""

    found_by = "events.work-is-reported-until-it-is-done"

    def WaitForEvent(self, request: Empty, context: grpc.ServicerContext) -> pb.WaitForEventResponse:
        super().WaitForEvent(request, context)
        return pb.WaitForEventResponse()


class EventLostAfterAccept(GoodVM):
    """Work that arrives before BlockAccept is not reported after it."""

    found_by = "events.work-is-reported-after-a-block"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.quiet = False

    def has_work(self) -> bool:
        return super().has_work() and not self.quiet

    def BlockAccept(self, request: pb.BlockAcceptRequest) -> Empty:
        self.quiet = True
        return super().BlockAccept(request)


class NeverNotifies(GoodVM):
    """Up to protocol 41: the node is not notified of work."""

    found_by = "events.work-is-reported-after-a-block"
    at_protocol = 39

    def changed(self) -> None:
        pass


class AlwaysReportsWork(GoodVM):
    """Work is reported although there is nothing to build."""

    found_by = "events.no-work-is-not-reported"

    def has_work(self) -> bool:
        return self.state == pb.STATE_NORMAL_OP


class MempoolNeverEmpties(GoodVM):
    """Each accepted block leaves a new transaction behind."""

    found_by = "events.no-work-is-not-reported"

    def BlockAccept(self, request: pb.BlockAcceptRequest) -> Empty:
        self.pending.append(request.id[:8])
        return super().BlockAccept(request)


class CancelledWaitKeepsItsThread(GoodVM):
    """A cancelled WaitForEvent waits on, so that the server runs out of threads."""

    found_by = "events.cancelled-waits-do-no-harm"

    def WaitForEvent(self, request: Empty, context: grpc.ServicerContext) -> pb.WaitForEventResponse:
        with self.wake:
            self.wake.wait_for(lambda: self.has_work() or self.shut_down.is_set())
        return pb.WaitForEventResponse(message=pb.MESSAGE_BUILD_BLOCK)


class CancelledWaitTakesTheEvent(GoodVM):
    """Events are in a queue, from which the oldest call takes, cancelled or not."""

    found_by = "events.cancelled-wait-takes-no-event"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.events = 0
        self.calls: deque[threading.Event] = deque()

    def changed(self) -> None:
        with self.wake:
            if not self.has_work():
                return
            if self.calls:
                self.calls.popleft().set()
            else:
                self.events += 1

    def WaitForEvent(self, request: Empty, context: grpc.ServicerContext) -> pb.WaitForEventResponse:
        call = threading.Event()
        with self.wake:
            if self.events:
                self.events -= 1
                call.set()
            else:
                self.calls.append(call)
        while not call.wait(1) and not self.shut_down.is_set():
            pass
        return pb.WaitForEventResponse(message=pb.MESSAGE_BUILD_BLOCK)


class IdleWaitFails(GoodVM):
    """WaitForEvent is an error while there is no work."""

    found_by = "events.wait-lasts-until-there-is-work"

    def WaitForEvent(self, request: Empty, context: grpc.ServicerContext) -> pb.WaitForEventResponse:
        if not self.has_work():
            raise ValueError("no event")
        return super().WaitForEvent(request, context)


class IdleWaitTimesOut(GoodVM):
    """WaitForEvent returns the unspecified event after a while without work."""

    found_by = "events.wait-lasts-until-there-is-work"

    def WaitForEvent(self, request: Empty, context: grpc.ServicerContext) -> pb.WaitForEventResponse:
        with self.wake:
            if not self.wake.wait_for(self.has_work, 0.3):
                return pb.WaitForEventResponse()
        return super().WaitForEvent(request, context)


class ReportsWorkTwice(GoodVM):
    """Each transaction is reported two times, even if the first block contains it."""

    found_by = "events.wait-lasts-until-there-is-work"

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol)
        self.again = False

    def has_work(self) -> bool:
        return self.again or super().has_work()

    def WaitForEvent(self, request: Empty, context: grpc.ServicerContext) -> pb.WaitForEventResponse:
        response = super().WaitForEvent(request, context)
        if context.is_active():  # A call that is cancelled returns as well, some time later.
            self.again = not self.again
        return response
