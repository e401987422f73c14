# Made by proto/generate.py from proto/appsender/appsender.proto: edit that instead.
from typing import Final

from google.protobuf import empty_pb2
from vmsdk._pb._service import Method, Service
from vmsdk._pb.appsender import appsender_pb2


class AppSender(Service):
    full_name = "appsender.AppSender"

    SendAppRequest: Final = Method("/appsender.AppSender/SendAppRequest", appsender_pb2.SendAppRequestMsg, empty_pb2.Empty)
    SendAppResponse: Final = Method("/appsender.AppSender/SendAppResponse", appsender_pb2.SendAppResponseMsg, empty_pb2.Empty)
    SendAppError: Final = Method("/appsender.AppSender/SendAppError", appsender_pb2.SendAppErrorMsg, empty_pb2.Empty)
    SendAppGossip: Final = Method("/appsender.AppSender/SendAppGossip", appsender_pb2.SendAppGossipMsg, empty_pb2.Empty)
    SendCrossChainAppRequest: Final = Method("/appsender.AppSender/SendCrossChainAppRequest", appsender_pb2.SendCrossChainAppRequestMsg, empty_pb2.Empty)
    SendCrossChainAppResponse: Final = Method("/appsender.AppSender/SendCrossChainAppResponse", appsender_pb2.SendCrossChainAppResponseMsg, empty_pb2.Empty)
    SendCrossChainAppError: Final = Method("/appsender.AppSender/SendCrossChainAppError", appsender_pb2.SendCrossChainAppErrorMsg, empty_pb2.Empty)
