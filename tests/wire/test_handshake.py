"""The plugin's side of the handshake, at engines that are no node."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import pytest

from vmsdk.errors import VMError
from vmsdk.host.runtime import RuntimeService
from vmsdk.host.service import LoopbackServer
from vmsdk.http2.frames import settings
from vmsdk.protocol import DEFAULT_PROTOCOL, protocol
from vmsdk.runtime.handshake import HANDSHAKE_TIMEOUT_S, Handshake

DEADLINE_S = 60.0
ADDRESS = "unix:/of/the/plugin"

Deadlines = SimpleQueue[Callable[[], object]]
Shake = Callable[[], SimpleQueue[VMError]]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(DEADLINE_S)
        yield server


@pytest.fixture
def deadlines(monkeypatch: pytest.MonkeyPatch) -> Deadlines:
    """What is done at each deadline, which passes when the test says so."""
    set_for: Deadlines = SimpleQueue()

    class Timer:
        def __init__(self, interval: float, function: Callable[[], object]) -> None:
            assert interval == HANDSHAKE_TIMEOUT_S
            self.function = function
            self.is_cancelled = False

        def start(self) -> None:
            set_for.put(self.pass_)

        def cancel(self) -> None:
            self.is_cancelled = True

        def pass_(self) -> None:
            if not self.is_cancelled:
                self.function()

    monkeypatch.setattr("vmsdk.runtime.handshake.threading.Timer", Timer)
    return set_for


def handshake(address: str) -> Handshake:
    return Handshake(address, protocol(DEFAULT_PROTOCOL), ADDRESS, source="a test")


@pytest.fixture
def shake(listener: socket.socket, deadlines: Deadlines) -> Iterator[Shake]:
    threads: list[threading.Thread] = []

    def start() -> SimpleQueue[VMError]:
        errors: SimpleQueue[VMError] = SimpleQueue()

        def run() -> None:
            try:
                handshake("{}:{}".format(*listener.getsockname())).wait()
            except VMError as error:
                errors.put(error)

        threads.append(threading.Thread(target=run))
        threads[0].start()
        return errors

    yield start
    for each in threads:
        each.join(DEADLINE_S)


def test_the_systems_reason_says_why_no_node_can_be_reached(listener: socket.socket) -> None:
    address = "{}:{}".format(*listener.getsockname())
    listener.close()
    with pytest.raises(VMError, match=rf"no node at \S+={address} .*: Connection refused\)"):
        handshake(address)


@pytest.mark.parametrize("greets", [False, True])
def test_an_engine_that_does_not_respond_is_given_up(
    listener: socket.socket, deadlines: Deadlines, shake: Shake, *, greets: bool
) -> None:
    errors = shake()
    connection, _ = listener.accept()
    with connection:
        if greets:
            connection.sendall(settings([]))
            received = b""
            while ADDRESS.encode() not in received:
                received += connection.recv(4096)
            deadlines.get(timeout=DEADLINE_S)()  # the connection's, which is over
        deadlines.get(timeout=DEADLINE_S)()
        text = str(errors.get(timeout=DEADLINE_S))
    assert "(no response within 5 s)" in text


def test_a_plugin_that_is_busy_meanwhile_has_no_deadline(deadlines: Deadlines) -> None:
    server = LoopbackServer(RuntimeService(None, ""), health_service=False)
    server.start()
    try:
        begun = handshake(server.address)
        while not deadlines.empty():
            deadlines.get()()
        begun.wait()
    finally:
        server.stop(0)
