# Made by proto/generate.py from proto/messenger/messenger.proto: edit that instead.
from typing import Final

from vmsdk._pb._service import Method, Service
from vmsdk._pb.messenger import messenger_pb2


class Messenger(Service):
    full_name = "messenger.Messenger"

    Notify: Final = Method("/messenger.Messenger/Notify", messenger_pb2.NotifyRequest, messenger_pb2.NotifyResponse)
