"""The plugin's side of the handshake, at engines that are no node."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from vmsdk.errors import VMError
from vmsdk.http2.frames import settings
from vmsdk.protocol import DEFAULT_PROTOCOL, protocol
from vmsdk.runtime.handshake import Handshake

DEADLINE_S = 60.0


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(DEADLINE_S)
        yield server


def shake_hands(listener: socket.socket) -> None:
    engine = "{}:{}".format(*listener.getsockname())
    Handshake(engine, protocol(DEFAULT_PROTOCOL), "127.0.0.1:1", source="a test").wait()


def test_the_system_s_reason_says_why_no_node_can_be_reached(listener: socket.socket) -> None:
    address = "{}:{}".format(*listener.getsockname())
    listener.close()
    with pytest.raises(VMError, match=rf"no node at \S+={address} .*: Connection refused\)"):
        Handshake(address, protocol(DEFAULT_PROTOCOL), "127.0.0.1:1", source="a test")


def test_an_engine_that_does_not_greet_is_given_up(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmsdk.runtime.handshake.HANDSHAKE_TIMEOUT_S", 0.125)
    with pytest.raises(VMError, match=r"no node at .* \(no response within 0.125 s\)"):
        shake_hands(listener)


def test_an_engine_that_does_not_respond_is_given_up(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmsdk.runtime.handshake.HANDSHAKE_TIMEOUT_S", 0.125)
    errors: list[str] = []

    def handshake() -> None:
        try:
            shake_hands(listener)
        except VMError as error:
            errors.append(str(error))

    shaking = threading.Thread(target=handshake)
    shaking.start()
    connection, _ = listener.accept()
    with connection:
        connection.sendall(settings([]))
        shaking.join(DEADLINE_S)
    assert "no response within 0.125 s" in errors[0]
