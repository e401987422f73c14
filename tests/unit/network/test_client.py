"""JSON-RPC calls to a server that returns what a test sets."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vmsdk.network import JSONRPCClient
from vmsdk.network.errors import CallFailed, NodeUnreachable


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.answer = b"{}"
        self.requests: list[dict[str, object]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/ext/info"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append({"path": self.path, **json.loads(body)})
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_named_parameters_are_sent_as_an_object(server: Server) -> None:
    server.answer = b'{"jsonrpc": "2.0", "id": 1, "result": {"isBootstrapped": true}}'
    assert JSONRPCClient(server.url).call("info.isBootstrapped", chain="P") == {"isBootstrapped": True}
    request = server.requests[0]
    assert (request["path"], request["method"], request["params"]) == (
        "/ext/info",
        "info.isBootstrapped",
        {"chain": "P"},
    )


def test_positional_parameters_are_sent_as_a_list(server: Server) -> None:
    server.answer = b'{"jsonrpc": "2.0", "id": 1, "result": null}'
    assert JSONRPCClient(server.url).call("eth_getBalance", "0x00", "latest") is None
    assert server.requests[0]["params"] == ["0x00", "latest"]


def test_both_kinds_of_parameters_at_once_are_refused(server: Server) -> None:
    with pytest.raises(TypeError, match="not both"):
        JSONRPCClient(server.url).call("method", 1, two=2)
    assert server.requests == []


def test_a_parameter_may_have_the_name_of_ours(server: Server) -> None:
    server.answer = b'{"result": 1}'
    assert JSONRPCClient(server.url).call("m", method="x", self="y") == 1
    assert server.requests[0]["params"] == {"method": "x", "self": "y"}


def test_an_error_of_the_method_comes_out_as_a_sentence(server: Server) -> None:
    server.answer = (
        b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "no such chain", "data": [1]}}'
    )
    with pytest.raises(CallFailed, match=r"info.peers failed: no such chain \(code -32000") as caught:
        JSONRPCClient(server.url).call("info.peers")
    assert (caught.value.code, caught.value.message, caught.value.data) == (-32000, "no such chain", [1])


@pytest.mark.parametrize("error", [b'"text"', b"7"])
def test_an_error_of_another_form_is_shown_as_it_is(server: Server, error: bytes) -> None:
    server.answer = b'{"error": ' + error + b"}"
    with pytest.raises(CallFailed, match=error.strip(b'"').decode()):
        JSONRPCClient(server.url).call("info.peers")


@pytest.mark.parametrize("answer", [b"404 page not found", b"", b"[]", b'{"neither": 1}', b"\xff"])
def test_a_response_that_is_not_json_rpc_is_shown_with_its_status(server: Server, answer: bytes) -> None:
    server.status, server.answer = 404, answer
    with pytest.raises(NodeUnreachable, match="HTTP 404"):
        JSONRPCClient(server.url).call("info.peers")


def test_an_url_where_nothing_listens_is_reported() -> None:
    # Its port stays bound, so that no other process gets it.
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/ext/info"
        with pytest.raises(NodeUnreachable, match=f"{url}: .*Connection refused"):
            JSONRPCClient(url).call("info.peers")


def test_a_server_that_does_not_respond_is_given_up(server: Server) -> None:
    silent = ThreadingHTTPServer(
        ("127.0.0.1", 0), BaseHTTPRequestHandler
    )  # accepts connections by its backlog only
    with silent, pytest.raises(NodeUnreachable, match="timed out"):
        JSONRPCClient(f"http://127.0.0.1:{silent.server_address[1]}/", timeout_s=0.2).call("info.peers")


def test_proxies_of_the_environment_are_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server.answer = b'{"result": 1}'
    assert JSONRPCClient(server.url).call("m") == 1
