"""The messenger of older nodes, to which a VM sends its events (up to protocol 41)."""

from __future__ import annotations

from vmsdk._pb.messenger import messenger_pb2 as pb
from vmsdk._pb.messenger.messenger_grpc import Messenger as Methods
from vmsdk.errors import NodeError
from vmsdk.services.call import Call
from vmsdk.services.channel import Channel
from vmsdk.state import Event

# Source: the node's vms/rpcchainvm/messenger/messenger_server.go, until protocol 41.
QUEUE_FULL = "full message queue"


class MessengerClient:
    """The messenger behind *channel*."""

    def __init__(self, channel: Channel) -> None:
        self._notify = Call(channel, Methods.Notify)

    def notify(self, event: Event) -> bool:
        """Send *event* to the node; False if its queue, which holds one event, is full.

        That is not an error: send it again later, if it still applies. Raises `NodeError`.
        """
        try:
            self._notify(pb.NotifyRequest(message=pb.Message.ValueType(event)))
        except NodeError as error:
            if error.details == QUEUE_FULL:
                return False
            raise
        return True
