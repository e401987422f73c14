# Made by proto/generate.py from proto/warp/message.proto: edit that instead.
from typing import Final

from vmsdk._pb._service import Method, Service
from vmsdk._pb.warp import message_pb2


class Signer(Service):
    full_name = "warp.Signer"

    Sign: Final = Method("/warp.Signer/Sign", message_pb2.SignRequest, message_pb2.SignResponse)
