"""Health: what the node's health page says of the chain."""

from __future__ import annotations

import json
from collections.abc import Iterator

from google.protobuf.empty_pb2 import Empty

from vmsdk._pb.vm import vm_pb2
from vmsdk._pb.vm.vm_grpc import VM
from vmsdk.rpc.dispatch import Dispatcher, Handler
from vmsdk.rpc.session import Session

# The node puts the details into its page as they are; escaped as Go's JSON does, they stay harmless in
# HTML.
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


class Health:
    """The VM's health and its database's."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def handlers(self) -> Iterator[Handler]:
        yield Dispatcher(self._session).engine(VM.Health, self.health)

    def health(self, request: Empty) -> vm_pb2.HealthResponse:
        node = self._session.node
        report = {
            "database": None if node is None else node.database.health_check(),
            "health": self._session.vm.health_check(),
        }
        text = json.dumps(report, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return vm_pb2.HealthResponse(details=text.translate(_ESCAPES).encode("ascii"))
