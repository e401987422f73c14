"""A client of a plugin's JSON-RPC service, as the node's HTTP server calls it."""

from __future__ import annotations

import json
from typing import Any

import grpc

from vmsdk._pb.http import http_pb2
from vmsdk._pb.http.http_grpc import HTTP
from vmsdk.host.node import Host

from .plugin import PATIENCE_S


class Client:
    """Calls the JSON-RPC methods of *service* through the node's HandleSimple."""

    def __init__(self, host: Host, service: str) -> None:
        self._service = service
        self._channel = grpc.insecure_channel(host.chain.handlers[""])
        self._handle = HTTP.HandleSimple.on(self._channel)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *failure: object) -> None:
        self._channel.close()

    def __call__(self, method: str, **params: Any) -> Any:
        call = {"jsonrpc": "2.0", "id": 1, "method": f"{self._service}.{method}", "params": params}
        request = http_pb2.HandleSimpleHTTPRequest(
            method="POST",
            url="/ext/bc/chain",
            request_headers=[http_pb2.Element(key="Content-Type", values=["application/json"])],
            body=json.dumps(call).encode(),
        )
        response = self._handle(request, timeout=PATIENCE_S)
        assert response.code == 200
        answer = json.loads(response.body)
        return answer["result"] if "result" in answer else answer["error"]
