# Made by proto/generate.py from proto/vm/vm.proto: edit that instead.
from typing import Final

from google.protobuf import empty_pb2
from vmsdk._pb._service import Method, Service
from vmsdk._pb.vm import vm_pb2


class VM(Service):
    full_name = "vm.VM"

    Initialize: Final = Method("/vm.VM/Initialize", vm_pb2.InitializeRequest, vm_pb2.InitializeResponse)
    SetState: Final = Method("/vm.VM/SetState", vm_pb2.SetStateRequest, vm_pb2.SetStateResponse)
    Shutdown: Final = Method("/vm.VM/Shutdown", empty_pb2.Empty, empty_pb2.Empty)
    CreateHandlers: Final = Method("/vm.VM/CreateHandlers", empty_pb2.Empty, vm_pb2.CreateHandlersResponse)
    Connected: Final = Method("/vm.VM/Connected", vm_pb2.ConnectedRequest, empty_pb2.Empty)
    Disconnected: Final = Method("/vm.VM/Disconnected", vm_pb2.DisconnectedRequest, empty_pb2.Empty)
    BuildBlock: Final = Method("/vm.VM/BuildBlock", vm_pb2.BuildBlockRequest, vm_pb2.BuildBlockResponse)
    ParseBlock: Final = Method("/vm.VM/ParseBlock", vm_pb2.ParseBlockRequest, vm_pb2.ParseBlockResponse)
    GetBlock: Final = Method("/vm.VM/GetBlock", vm_pb2.GetBlockRequest, vm_pb2.GetBlockResponse)
    SetPreference: Final = Method("/vm.VM/SetPreference", vm_pb2.SetPreferenceRequest, empty_pb2.Empty)
    Health: Final = Method("/vm.VM/Health", empty_pb2.Empty, vm_pb2.HealthResponse)
    Version: Final = Method("/vm.VM/Version", empty_pb2.Empty, vm_pb2.VersionResponse)
    AppRequest: Final = Method("/vm.VM/AppRequest", vm_pb2.AppRequestMsg, empty_pb2.Empty)
    AppRequestFailed: Final = Method("/vm.VM/AppRequestFailed", vm_pb2.AppRequestFailedMsg, empty_pb2.Empty)
    AppResponse: Final = Method("/vm.VM/AppResponse", vm_pb2.AppResponseMsg, empty_pb2.Empty)
    AppGossip: Final = Method("/vm.VM/AppGossip", vm_pb2.AppGossipMsg, empty_pb2.Empty)
    Gather: Final = Method("/vm.VM/Gather", empty_pb2.Empty, vm_pb2.GatherResponse)
    CrossChainAppRequest: Final = Method("/vm.VM/CrossChainAppRequest", vm_pb2.CrossChainAppRequestMsg, empty_pb2.Empty)
    CrossChainAppRequestFailed: Final = Method("/vm.VM/CrossChainAppRequestFailed", vm_pb2.CrossChainAppRequestFailedMsg, empty_pb2.Empty)
    CrossChainAppResponse: Final = Method("/vm.VM/CrossChainAppResponse", vm_pb2.CrossChainAppResponseMsg, empty_pb2.Empty)
    GetAncestors: Final = Method("/vm.VM/GetAncestors", vm_pb2.GetAncestorsRequest, vm_pb2.GetAncestorsResponse)
    BatchedParseBlock: Final = Method("/vm.VM/BatchedParseBlock", vm_pb2.BatchedParseBlockRequest, vm_pb2.BatchedParseBlockResponse)
    GetBlockIDAtHeight: Final = Method("/vm.VM/GetBlockIDAtHeight", vm_pb2.GetBlockIDAtHeightRequest, vm_pb2.GetBlockIDAtHeightResponse)
    StateSyncEnabled: Final = Method("/vm.VM/StateSyncEnabled", empty_pb2.Empty, vm_pb2.StateSyncEnabledResponse)
    GetOngoingSyncStateSummary: Final = Method("/vm.VM/GetOngoingSyncStateSummary", empty_pb2.Empty, vm_pb2.GetOngoingSyncStateSummaryResponse)
    GetLastStateSummary: Final = Method("/vm.VM/GetLastStateSummary", empty_pb2.Empty, vm_pb2.GetLastStateSummaryResponse)
    ParseStateSummary: Final = Method("/vm.VM/ParseStateSummary", vm_pb2.ParseStateSummaryRequest, vm_pb2.ParseStateSummaryResponse)
    GetStateSummary: Final = Method("/vm.VM/GetStateSummary", vm_pb2.GetStateSummaryRequest, vm_pb2.GetStateSummaryResponse)
    BlockVerify: Final = Method("/vm.VM/BlockVerify", vm_pb2.BlockVerifyRequest, vm_pb2.BlockVerifyResponse)
    BlockAccept: Final = Method("/vm.VM/BlockAccept", vm_pb2.BlockAcceptRequest, empty_pb2.Empty)
    BlockReject: Final = Method("/vm.VM/BlockReject", vm_pb2.BlockRejectRequest, empty_pb2.Empty)
    StateSummaryAccept: Final = Method("/vm.VM/StateSummaryAccept", vm_pb2.StateSummaryAcceptRequest, vm_pb2.StateSummaryAcceptResponse)
    CreateHTTP2Handler: Final = Method("/vm.VM/CreateHTTP2Handler", empty_pb2.Empty, vm_pb2.CreateHTTP2HandlerResponse)
    NewHTTPHandler: Final = Method("/vm.VM/NewHTTPHandler", empty_pb2.Empty, vm_pb2.NewHTTPHandlerResponse)
    WaitForEvent: Final = Method("/vm.VM/WaitForEvent", empty_pb2.Empty, vm_pb2.WaitForEventResponse)
