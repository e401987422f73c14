"""The node's client of a plugin, with every method of `vm.VM`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from vmsdk._pb._service import Method
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.host.errors import ClientClosed, PluginGone

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)

# Source: vms/rpcchainvm/grpcutils/client.go, the same in every protocol version.
CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # A proxy in the environment is not meant for 127.0.0.1.
    ("grpc.enable_http_proxy", 0),
)
Around = Callable[[str, Message, Callable[[], Message]], Message]
"""Takes a method's name, the request, and a function that calls; returns the response."""

# A process that dies closes its connections first; its exit is noticed within this time, even on a
# busy machine.
DEATH_NOTICE_S = 2.0


class Call(Generic[RequestT, ResponseT]):
    """One method. By default it waits until the plugin accepts connections, as a node does."""

    def __init__(
        self, client: VMClient, method: Method[RequestT, ResponseT], *, wait_for_ready: bool = True
    ) -> None:
        self.name = method.path.rpartition("/")[2]
        self._client = client
        self._wait_for_ready = wait_for_ready
        self._invoke = method.on(client.channel)

    def __call__(self, request: RequestT, timeout: float | None = None) -> ResponseT:
        """Call and wait up to *timeout* seconds (None: the client's timeout).

        Raises `grpc.RpcError`, or `PluginGone` once the client is aborted, or `ClientClosed`.
        """
        timeout = self._client.timeout_s if timeout is None else timeout

        def invoke() -> ResponseT:
            return self._invoke(request, timeout, wait_for_ready=self._wait_for_ready)

        try:
            return cast(ResponseT, self._client.around(self.name, request, invoke))
        except (grpc.RpcError, ValueError) as error:  # ValueError: the channel is closed
            raise self._client._cause_of(self.name, error) from None

    def start(self, request: RequestT, timeout: float | None = None) -> grpc.Future[ResponseT]:
        """Start a call. Without *timeout*, it has no deadline; the future can be cancelled.

        Raises `PluginGone` once the client is aborted, or `ClientClosed`.
        """
        try:
            return cast(
                "grpc.Future[ResponseT]",
                self._invoke.future(request, timeout, wait_for_ready=self._wait_for_ready),
            )
        except ValueError as error:
            raise self._client._cause_of(self.name, error) from None


class VMClient:
    """Calls the plugin that serves at *address*, ``127.0.0.1:port``. It connects at the first call.

    Its attributes call the protocol's methods of the same names, with protobuf messages.
    *timeout_s* is the default deadline of calls; None means no deadline, as in a node. *wait* is
    called when the connection breaks: it waits up to some seconds for the exit of the plugin's
    process and returns the exit code. *channel* replaces a new one to *address*.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float | None = None,
        wait: Callable[[float], int | None] = lambda seconds: None,
        channel: grpc.Channel | None = None,
    ) -> None:
        self.address = address
        self._wait = wait
        self.timeout_s = timeout_s
        self.channel = channel or grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        self.around: Around = lambda name, request, invoke: invoke()
        """Makes each call that waits for its response. Tests replace it to inject faults."""
        self._gone: PluginGone | None = None
        self._closed = False
        self.Initialize = Call(self, VM.Initialize)
        self.SetState = Call(self, VM.SetState)
        self.Shutdown = Call(self, VM.Shutdown)
        self.CreateHandlers = Call(self, VM.CreateHandlers)
        self.Connected = Call(self, VM.Connected)
        self.Disconnected = Call(self, VM.Disconnected)
        self.BuildBlock = Call(self, VM.BuildBlock)
        self.ParseBlock = Call(self, VM.ParseBlock)
        self.GetBlock = Call(self, VM.GetBlock)
        self.SetPreference = Call(self, VM.SetPreference)
        self.Health = Call(self, VM.Health, wait_for_ready=False)
        self.Version = Call(self, VM.Version)
        self.AppRequest = Call(self, VM.AppRequest)
        self.AppRequestFailed = Call(self, VM.AppRequestFailed)
        self.AppResponse = Call(self, VM.AppResponse)
        self.AppGossip = Call(self, VM.AppGossip)
        self.Gather = Call(self, VM.Gather)
        self.CrossChainAppRequest = Call(self, VM.CrossChainAppRequest)
        self.CrossChainAppRequestFailed = Call(self, VM.CrossChainAppRequestFailed)
        self.CrossChainAppResponse = Call(self, VM.CrossChainAppResponse)
        self.GetAncestors = Call(self, VM.GetAncestors)
        self.BatchedParseBlock = Call(self, VM.BatchedParseBlock)
        self.GetBlockIDAtHeight = Call(self, VM.GetBlockIDAtHeight)
        self.StateSyncEnabled = Call(self, VM.StateSyncEnabled)
        self.GetOngoingSyncStateSummary = Call(self, VM.GetOngoingSyncStateSummary)
        self.GetLastStateSummary = Call(self, VM.GetLastStateSummary)
        self.ParseStateSummary = Call(self, VM.ParseStateSummary)
        self.GetStateSummary = Call(self, VM.GetStateSummary)
        self.BlockVerify = Call(self, VM.BlockVerify)
        self.BlockAccept = Call(self, VM.BlockAccept)
        self.BlockReject = Call(self, VM.BlockReject)
        self.StateSummaryAccept = Call(self, VM.StateSummaryAccept)
        self.CreateHTTP2Handler = Call(self, VM.CreateHTTP2Handler)
        self.NewHTTPHandler = Call(self, VM.NewHTTPHandler)
        self.WaitForEvent = Call(self, VM.WaitForEvent)

    def check_health(self, timeout: float | None = None) -> int:
        """Ask the gRPC health service for the status: 1 is SERVING. Raises `grpc.RpcError`."""
        check = self.channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        response = check(health_pb2.HealthCheckRequest(), timeout or self.timeout_s, wait_for_ready=True)
        return int(response.status)

    def abort(self, exit_code: int | None = None) -> None:
        """Make all calls, running and later ones, fail with `PluginGone`: the process has ended."""
        self._gone = PluginGone(exit_code=exit_code)
        self.channel.close()

    def close(self) -> None:
        """Make all calls, running and later ones, fail with `ClientClosed`."""
        self._closed = True
        self.channel.close()

    def _cause_of(self, method: str, error: Exception) -> Exception:
        if self._gone is not None:
            return PluginGone(method, self._gone.exit_code)
        if self._closed:
            return ClientClosed(method)
        if isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.UNAVAILABLE:
            exit_code = self._wait(DEATH_NOTICE_S)
            if exit_code is not None:
                return PluginGone(method, exit_code)
        return error
