"""`vmsdk dev` lets a chain say goodbye to its WebSockets."""

from __future__ import annotations

from pathlib import Path

import pytest
import websockets
from websockets.sync.client import connect

from .devcommand import TIMEOUT_S, TIMESTAMP_VM, Dev

VM = f"""\
import sys
sys.path.insert(0, {str(TIMESTAMP_VM.parent)!r})
from timestampvm import TimestampVM

async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({{"type": "websocket.accept"}})
        while (await receive())["type"] != "websocket.disconnect":
            pass

class Listening(TimestampVM):
    def create_handlers(self):
        return {{"/ws": app}}
"""


def test_clients_get_the_close_code_for_a_restart_when_the_chain_stops(tmp_path: Path) -> None:
    file = tmp_path / "vm.py"
    file.write_text(VM)
    with Dev(file, folder=tmp_path) as dev:
        with connect(dev.url().replace("http:", "ws:")) as client:
            dev.interrupt()
            with pytest.raises(websockets.ConnectionClosed) as caught:
                client.recv(TIMEOUT_S)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1012
        assert dev.wait() == 0
