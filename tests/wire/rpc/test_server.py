"""The server of a VM, as it is made after the handshake: an exception here would leave the node
waiting.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.empty_pb2 import Empty

from tests import transport
from vmsdk.host.client import VMClient
from vmsdk.protocol import NEWEST, protocol
from vmsdk.rpc.listener import bind
from vmsdk.rpc.server import VMServer

from .plainvm import PlainVM


def test_a_vm_whose_name_is_not_text_is_served_all_the_same() -> None:
    class Seven(PlainVM):
        @property
        def name(self) -> Any:  # type: ignore[override]
            return 7

    listener, address = bind(transport.addresses())
    server = VMServer(Seven(), protocol(NEWEST), listener, addresses=transport.addresses())
    server.start()
    client = VMClient(address, timeout_s=60)
    try:
        assert client.Version(Empty()).version == "0.0.1-plain"
    finally:
        client.close()
        server.stop(0)
