from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from tests.wire.services.scripted_node import DEADLINE_S, Behaviour, Script, ScriptedNode, answers, fails
from vmsdk._pb.rpcdb import rpcdb_pb2 as pb
from vmsdk._pb.rpcdb.rpcdb_grpc import Database
from vmsdk.errors import NodeError
from vmsdk.services.call import Call
from vmsdk.services.channel import Channel, UnaryMethod, connect

HELLO = {Database.Get: answers(pb.GetResponse(value=b"hello"))}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def get(channel: Channel) -> bytes:
    return Call(channel, Database.Get)(pb.GetRequest(key=b"key")).value


def get_by_start(channel: Channel) -> bytes:
    return Call(channel, Database.Get).start(pb.GetRequest(key=b"key")).wait().value


def answers_after(event: threading.Event) -> Behaviour:
    def wait_and_answer(request: pb.GetRequest, context: grpc.ServicerContext) -> pb.GetResponse:
        event.wait(DEADLINE_S)
        return pb.GetResponse()

    return wait_and_answer


def failure(call: Future[bytes]) -> NodeError:
    error = call.exception(DEADLINE_S)
    assert isinstance(error, NodeError)
    return error


@pytest.mark.parametrize("ask", [get, get_by_start])
def test_a_call_waits_for_a_server_that_is_not_there_yet(
    pool: ThreadPoolExecutor, ask: Callable[[Channel], bytes]
) -> None:
    with ScriptedNode(HELLO) as node, socket.socket() as door:
        door.bind(("127.0.0.1", 0))  # refuses connections until it listens
        with connect(f"127.0.0.1:{door.getsockname()[1]}") as channel:
            waiting = pool.submit(ask, channel)
            wait_until_connecting_has_failed(channel)
            assert not waiting.done()
            door.listen()
            with door.accept()[0] as client, socket.create_connection(("127.0.0.1", node.port)) as server:
                threads = [
                    threading.Thread(target=forward, args=ends)
                    for ends in [(client, server), (server, client)]
                ]
                for thread in threads:
                    thread.start()
                assert waiting.result(DEADLINE_S) == b"hello"
                channel.close()
                for thread in threads:
                    thread.join(DEADLINE_S)


def wait_until_connecting_has_failed(channel: Channel) -> None:
    impatient: UnaryMethod = channel.unary_unary(Database.Get.path)
    with pytest.raises(grpc.RpcError) as refused:
        impatient(b"", wait_for_ready=False)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def forward(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other side went first


def test_the_nodes_error_keeps_its_method_code_and_text() -> None:
    with (
        ScriptedNode({Database.Get: fails(grpc.StatusCode.FAILED_PRECONDITION, "no disk")}) as node,
        connect(node.address) as channel,
        pytest.raises(NodeError) as caught,
    ):
        get(channel)
    assert (caught.value.method, caught.value.code) == ("/rpcdb.Database/Get", "FAILED_PRECONDITION")
    assert (caught.value.details, str(caught.value)) == ("no disk", "no disk")


def test_an_error_without_a_text_names_the_method_and_the_code() -> None:
    with (
        ScriptedNode({Database.Get: fails(grpc.StatusCode.UNKNOWN, "")}) as node,
        connect(node.address) as channel,
        pytest.raises(NodeError, match=r"^/rpcdb.Database/Get failed with UNKNOWN$"),
    ):
        get(channel)


def test_a_response_that_is_not_protobuf_is_the_nodes_error() -> None:
    with (
        ScriptedNode({Database.Get: answers(b"\xff\xff\xff")}) as node,
        connect(node.address) as channel,
        pytest.raises(NodeError) as caught,
    ):
        get(channel)
    assert caught.value.code == "INTERNAL"


def test_a_method_that_the_node_lacks_is_unimplemented() -> None:
    with ScriptedNode({}) as node, connect(node.address) as channel, pytest.raises(NodeError) as caught:
        get(channel)
    assert caught.value.code == "UNIMPLEMENTED"


def test_a_node_that_stops_fails_the_call_in_flight(pool: ThreadPoolExecutor) -> None:
    forever = threading.Event()
    with (
        ScriptedNode({Database.Get: answers_after(forever)}) as node,
        connect(node.address) as channel,
    ):
        call = pool.submit(get, channel)
        node.wait_for_calls("Get")
        node.stop()
        assert failure(call).code == "UNAVAILABLE"
        forever.set()


@pytest.mark.parametrize("ask", [get, get_by_start])
def test_closing_the_channel_wakes_a_call_that_waits_for_an_answer(
    pool: ThreadPoolExecutor, ask: Callable[[Channel], bytes]
) -> None:
    forever = threading.Event()
    with ScriptedNode({Database.Get: answers_after(forever)}) as node:
        channel = connect(node.address)
        call = pool.submit(ask, channel)
        node.wait_for_calls("Get")
        channel.close()
        error = failure(call)
        forever.set()
    assert error.code == "UNAVAILABLE"
    assert str(error) == "/rpcdb.Database/Get failed: the connection to the node was closed"


@pytest.mark.parametrize("ask", [get, get_by_start])
def test_closing_the_channel_wakes_a_call_that_waits_for_a_node_that_is_gone(
    pool: ThreadPoolExecutor, ask: Callable[[Channel], bytes], tmp_path: Path
) -> None:
    channel = connect_to_a_node_that_is_gone(tmp_path)
    call = pool.submit(ask, channel)
    wait_until_connecting_has_failed(channel)
    assert not call.done()
    channel.close()
    assert failure(call).code == "UNAVAILABLE"


def connect_to_a_node_that_is_gone(directory: Path) -> Channel:
    # Not a port, which may soon be another server's.
    with ScriptedNode(HELLO, f"unix:{directory}/node") as node:
        channel = connect(node.address)
        assert get(channel) == b"hello"
    # Until the channel notices the end, a call may still go into the old connection, and fail with
    # it.
    wait_until_connecting_has_failed(channel)
    return channel


def test_a_call_on_a_closed_channel_fails_at_once() -> None:
    with ScriptedNode(HELLO) as node:
        channel = connect(node.address)
        call = Call(channel, Database.Get)
        channel.close()
        for ask in (call, call.start):
            with pytest.raises(NodeError, match="connection to the node was closed") as caught:
                ask(pb.GetRequest())
            assert caught.value.code == "UNAVAILABLE"
        assert node.called == []


def test_messages_have_no_size_limit() -> None:
    megabytes_20 = bytes(20 << 20)
    methods: Script = {
        Database.Get: answers(pb.GetResponse(value=megabytes_20)),
        Database.Put: answers(pb.PutResponse()),
    }
    with ScriptedNode(methods) as node, connect(node.address) as channel:
        assert get(channel) == megabytes_20
        Call(channel, Database.Put)(pb.PutRequest(value=megabytes_20))
        assert node.requests_of(Database.Put)[0].value == megabytes_20


def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as proxy:
        proxy.bind(("127.0.0.1", 0))
        for name in ("http_proxy", "https_proxy", "grpc_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        for name in ("no_proxy", "no_grpc_proxy"):
            monkeypatch.delenv(name, raising=False)
        with ScriptedNode(HELLO) as node, connect(node.address) as channel:
            assert get(channel) == b"hello"


def test_a_name_is_an_address_too() -> None:
    with ScriptedNode(HELLO) as node, connect(f"localhost:{node.port}") as channel:
        assert get(channel) == b"hello"


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1", "127.0.0.1:", ":9650", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:http", "a:٣"],
)
def test_a_text_that_is_not_an_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="expected host:port"):
        connect(address)
