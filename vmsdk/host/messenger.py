"""The service `messenger.Messenger`: how VMs told events until protocol 41."""

from __future__ import annotations

from collections.abc import Callable

from vmsdk._pb.messenger import messenger_pb2 as pb
from vmsdk._pb.messenger.messenger_grpc import Messenger
from vmsdk.host.service import NodeService


class QueueFull(Exception):
    """The engine has not picked the last message up yet."""

    def __init__(self) -> None:
        super().__init__("full message queue")


class MessengerService(NodeService):
    """Hands each message to *offer*, which says whether the queue (capacity 1) had room."""

    service = Messenger

    def __init__(self, offer: Callable[[int], bool]) -> None:
        super().__init__()
        self._offer = offer

    def Notify(self, request: pb.NotifyRequest) -> pb.NotifyResponse:
        if not self._offer(request.message):
            raise QueueFull
        return pb.NotifyResponse()
