"""Routing of messages, and requests with their responses."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from vmsdk.errors import AppError, NodeError
from vmsdk.ids import NodeID
from vmsdk.p2p import Handler, Network, Networked
from vmsdk.p2p.handler import ValidatorsOnly
from vmsdk.p2p.network import prefix, read_prefix
from vmsdk.timestamp import Timestamp
from vmsdk.vm import ChainVM

from .nodes import VERSION, Node, Request, Sent, node_id

PEER = node_id(1)
DEADLINE = Timestamp(5)


class Recorder(Handler):
    """Records messages, and responds with *response*."""

    def __init__(self, response: object = b"response") -> None:
        self.response = response
        self.requests: list[tuple[NodeID, Timestamp, bytes]] = []
        self.messages: list[tuple[NodeID, bytes]] = []

    def app_request(self, node_id: NodeID, deadline: Timestamp, request: bytes) -> bytes:
        self.requests.append((node_id, deadline, request))
        return self.response  # type: ignore[return-value]

    def app_gossip(self, node_id: NodeID, message: bytes) -> None:
        self.messages.append((node_id, message))


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def network(node: Node) -> Network:
    return Network(node.context())


@pytest.mark.parametrize(
    ("handler_id", "encoded"),
    [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**64 - 1, "ffffffffffffffffff01")],
)
def test_a_handler_id_is_an_unsigned_varint(handler_id: int, encoded: str) -> None:
    assert prefix(handler_id) == bytes.fromhex(encoded)
    assert read_prefix(bytes.fromhex(encoded) + b"\xff") == (handler_id, len(encoded) // 2)


def test_a_padded_varint_is_read_as_go_reads_it() -> None:
    assert read_prefix(b"\x80\x00rest") == (0, 2)


@pytest.mark.parametrize("message", [b"", b"\x80", b"\xff" * 9, b"\xff" * 9 + b"\x02", b"\xff" * 1000])
def test_bytes_without_a_handler_id_are_for_no_handler(network: Network, message: bytes) -> None:
    assert read_prefix(message) == (0, 0)
    network.add_handler(0, recorder := Recorder())
    with pytest.raises(AppError) as raised:
        network.app_request(PEER, 1, DEADLINE, message)
    assert (raised.value.code, raised.value.message) == (-2, "unregistered handler")
    network.app_gossip(PEER, message)
    assert not recorder.messages


def test_messages_reach_the_handler_with_their_id(network: Network) -> None:
    network.add_handler(2, other := Recorder())
    network.add_handler(300, recorder := Recorder())
    assert network.app_request(PEER, 9, DEADLINE, b"\xac\x02ask") == b"response"
    network.app_gossip(PEER, b"\xac\x02news")
    network.app_gossip(PEER, b"\xad\x02for nobody")
    assert recorder.requests == [(PEER, DEADLINE, b"ask")]
    assert recorder.messages == [(PEER, b"news")]
    assert not other.requests
    assert not other.messages


def test_a_handler_refuses_requests_unless_it_overrides_the_method(network: Network) -> None:
    network.add_handler(5, Handler())
    with pytest.raises(AppError, match="unregistered handler"):
        network.app_request(PEER, 1, DEADLINE, b"\x05")
    network.app_gossip(PEER, b"\x05")


def test_a_handler_id_has_one_handler(network: Network) -> None:
    class Other(Handler): ...

    network.add_handler(5, Recorder())
    with pytest.raises(ValueError, match=r"5 is in use by Recorder: give Other another"):
        network.add_handler(5, Other())
    # Whichever comes first, one of vmsdk's has the ID of the node's library.
    with pytest.raises(ValueError, match=r"5 is in use by ValidatorsOnly: give Recorder another"):
        network.add_handler(5, ValidatorsOnly(Other(), network.validators))


@pytest.mark.parametrize("arguments", [(Recorder(), 5), (5, Recorder), (5, lambda *_: b""), (5, object())])
def test_what_is_not_a_handler_is_refused(network: Network, arguments: Any) -> None:
    with pytest.raises(
        TypeError, match=r"^add_handler\(.*: pass the ID and an object of a class derived from"
    ):
        network.add_handler(*arguments)


def test_a_message_that_is_not_bytes_is_refused(network: Network) -> None:
    client: Any = network.client(5)
    with pytest.raises(TypeError, match=r"^a message is bytes, not 'hello': encode it$"):
        client.request(PEER, "hello")
    with pytest.raises(TypeError, match=r"^a message is bytes, not 7: encode it$"):
        client.gossip(7, peers=1)


@pytest.mark.parametrize("news", [bytearray(b"news"), memoryview(b"news"), memoryview(b"n.e.w.s")[::2]])
def test_a_message_may_be_a_buffer(network: Network, node: Node, news: Any) -> None:
    network.client(5).gossip(news, peers=1)
    network.client(5).request(PEER, news)
    assert [each.message for each in node.gossip] == [each.request for each in node.requests] == [b"\x05news"]


def test_a_handler_id_is_a_number(network: Network) -> None:
    with pytest.raises(TypeError, match="handler ID '5' is not a number"):
        network.add_handler("5", Recorder())  # type: ignore[arg-type]


@pytest.mark.parametrize("handler_id", [-1, 2**64])
def test_a_handler_id_has_64_bits(network: Network, handler_id: int) -> None:
    with pytest.raises(ValueError, match="not within 0 to"):
        network.add_handler(handler_id, Handler())


def test_a_response_that_is_not_bytes_is_reported_with_the_handler(network: Network) -> None:
    network.add_handler(0, Recorder(response=None))
    with pytest.raises(TypeError, match=r"Recorder\.app_request returned NoneType: return bytes"):
        network.app_request(PEER, 1, DEADLINE, b"\0")


# Requests ----------------------------------------------------------------------------------------


def test_requests_have_odd_ids_and_get_their_own_responses(network: Network, node: Node) -> None:
    client = network.client(300)
    first, second = client.request(PEER, b"a"), client.request(node_id(2), b"b")
    assert node.requests == [Request(PEER, 1, b"\xac\x02a"), Request(node_id(2), 3, b"\xac\x02b")]
    network.app_response(node_id(2), 3, b"B")
    assert second.result(0) == b"B"
    assert not first.done()
    error = AppError(AppError.TIMED_OUT, "timed out")
    network.app_request_failed(PEER, 1, error)
    assert first.exception(0) is error


def test_a_response_that_comes_before_the_call_returns_is_not_lost(network: Network, node: Node) -> None:
    class Quick(Node):
        def send_app_request(self, node_ids: object, request_id: int, request: bytes) -> None:
            network.app_response(PEER, request_id, b"quick")

    network = Network(Quick().context())
    assert network.client(0).request(PEER, b"").result(0) == b"quick"


def test_responses_to_nothing_are_ignored(network: Network) -> None:
    future = network.client(0).request(PEER, b"")
    network.app_response(PEER, 1, b"first")
    network.app_response(PEER, 1, b"second")
    network.app_request_failed(PEER, 1, AppError(0, ""))
    network.app_response(PEER, 2**32 - 1, b"")
    assert future.result(0) == b"first"


def test_request_ids_wrap_at_32_bits_and_skip_pending_ones(network: Network, node: Node) -> None:
    client = network.client(0)
    client.request(PEER, b"")
    network._next_request_id = 2**32 - 1
    client.request(PEER, b"")
    client.request(PEER, b"")
    assert [request.request_id for request in node.requests] == [1, 2**32 - 1, 3]


def test_a_request_that_the_node_refuses_is_not_pending(network: Network, node: Node) -> None:
    node.refuses = True
    with pytest.raises(NodeError, match="the node refuses"):
        network.client(0).request(PEER, b"")
    assert not network._pending


def test_a_callback_that_fails_does_not_reach_the_node(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(future: Future[bytes]) -> None:
        raise RuntimeError("a bug in a callback")

    network.client(0).request(PEER, b"").add_done_callback(fail)
    network.app_response(PEER, 1, b"")
    assert "a bug in a callback" in caplog.text


def test_requests_end_when_the_network_closes(network: Network) -> None:
    pending = network.client(0).request(PEER, b"")
    network.close()
    late = network.client(0).request(PEER, b"")
    for future in (pending, late):
        with pytest.raises(AppError, match="shutting down"):
            future.result(0)
    network.app_response(PEER, 1, b"too late")


def test_gossip_carries_the_handler_id_and_the_targets(network: Network, node: Node) -> None:
    network.client(128).gossip(b"news", node_ids=[PEER], validators=1, non_validators=2, peers=3)
    assert node.gossip == [Sent(b"\x80\x01news", (PEER,), 1, 2, 3)]


def test_the_example_of_the_docs_works(node: Node) -> None:
    page = (Path(__file__).parents[3] / "docs" / "peers.md").read_text("utf-8")
    example: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], example)
    vm_class = example["MyVM"]
    vm_class.__abstractmethods__ = frozenset()
    vm = vm_class()
    vm.ctx = node.context()
    vm.initialize(vm.ctx, b"", b"", b"")
    request = prefix(example["GREETING"]) + b"hello"
    assert vm.app_request(PEER, 1, DEADLINE, request) == b"hello yourself"
    with pytest.raises(AppError, match="say hello"):
        vm.app_request(PEER, 1, DEADLINE, request + b"?")


# The mixin ---------------------------------------------------------------------------------------


class Talker(Networked):
    """A VM that needs nothing but messages."""


def test_a_vm_with_the_mixin_passes_its_messages_to_the_network(node: Node) -> None:
    Talker.__abstractmethods__ = frozenset()
    vm: ChainVM = Talker()  # type: ignore[abstract]
    assert isinstance(vm, Networked)
    vm.ctx = node.context()
    vm.network.add_handler(0, recorder := Recorder())
    vm.connected(PEER, VERSION)
    assert PEER in vm.network.peers
    assert vm.app_request(PEER, 2, DEADLINE, b"\0ask") == b"response"
    vm.app_gossip(PEER, b"\0news")
    assert recorder.messages == [(PEER, b"news")]
    first, second, third = (vm.network.client(0).request(PEER, b"") for _ in range(3))
    vm.app_response(PEER, 1, b"one")
    vm.app_request_failed(PEER, 3, AppError(4, "four"))
    vm.shutdown()
    assert first.result(0) == b"one"
    assert str(second.exception(0)) == "four (application error 4)"
    assert "shutting down" in str(third.exception(0))
    vm.disconnected(PEER)
    assert len(vm.network.peers) == 0
