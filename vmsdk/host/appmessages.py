"""Application messages to the VM."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.errors import AppError
from vmsdk.host.appnetwork import AppReceiver, Party
from vmsdk.host.client import Call
from vmsdk.host.engine import Engine, RequestT
from vmsdk.ids import ID, NodeID


class AppMessages(AppReceiver):
    """Calls the VM outside the chain lock. Every error is fatal to the chain: `ChainFatal`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._client = engine.client

    def app_request(self, sender: Party, request_id: int, deadline_ns: int, request: bytes) -> None:
        deadline = Timestamp()
        deadline.FromNanoseconds(deadline_ns)
        if isinstance(sender, ID):
            self._send(
                self._client.CrossChainAppRequest,
                pb.CrossChainAppRequestMsg(
                    chain_id=sender, request_id=request_id, deadline=deadline, request=request
                ),
            )
        else:
            self._send(
                self._client.AppRequest,
                pb.AppRequestMsg(node_id=sender, request_id=request_id, deadline=deadline, request=request),
            )

    def app_response(self, sender: Party, request_id: int, response: bytes) -> None:
        if isinstance(sender, ID):
            self._send(
                self._client.CrossChainAppResponse,
                pb.CrossChainAppResponseMsg(chain_id=sender, request_id=request_id, response=response),
            )
        else:
            self._send(
                self._client.AppResponse,
                pb.AppResponseMsg(node_id=sender, request_id=request_id, response=response),
            )

    def app_request_failed(self, sender: Party, request_id: int, error: AppError) -> None:
        if isinstance(sender, ID):
            self._send(
                self._client.CrossChainAppRequestFailed,
                pb.CrossChainAppRequestFailedMsg(
                    chain_id=sender,
                    request_id=request_id,
                    error_code=error.code,
                    error_message=error.message,
                ),
            )
        else:
            self._send(
                self._client.AppRequestFailed,
                pb.AppRequestFailedMsg(
                    node_id=sender,
                    request_id=request_id,
                    error_code=error.code,
                    error_message=error.message,
                ),
            )

    def app_gossip(self, sender: NodeID, message: bytes) -> None:
        self._send(self._client.AppGossip, pb.AppGossipMsg(node_id=sender, msg=message))

    def _send(self, call: Call[RequestT, Empty], request: RequestT) -> None:
        self._engine.call(call, request, fatal=True, locked=False)
