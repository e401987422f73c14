"""HTTP through every node's own API server and tunnel, to ASGI apps of a Python VM."""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import websockets.exceptions
from websockets.sync.client import connect

from .gohost import GoHost, Handlers
from .nodes import NODES, Node
from .pyplugin import EVERYTHING, python_plugin

TIMEOUT_S = 60.0
PARTS = 3


@pytest.fixture(scope="module")
def host(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoHost]:
    """One chain for all of this file."""
    plugin = python_plugin(tmp_path_factory.mktemp("plugin"), EVERYTHING, node.protocol)
    with GoHost(node) as running:
        running.run(plugin)
        yield running
        running.shutdown()


@pytest.fixture(scope="module")
def web(host: GoHost) -> Handlers:
    """Its handlers."""
    return host.create_handlers()


def test_every_prefix_is_served_by_path_and_by_alias(web: Handlers) -> None:
    assert set(web.prefixes) == {"/rpc", "/web{path:|/.*}"}
    for path in ("/web", "/web/", "/web/some/where"):
        answer = httpx.get(web.url(path)).json()
        assert answer["path"] == f"{web.path}{path}"
    assert httpx.get(f"http://{web.address}/ext/bc/interop/web").json()["path"] == "/ext/bc/interop/web"
    assert httpx.get(web.url("/elsewhere")).status_code == 404


def test_a_request_arrives_whole(web: Handlers) -> None:
    body = os.urandom(3 << 20)
    response = httpx.put(web.url("/web?a=1&b=%20"), content=body, headers={"X-Mine": "yes"})
    echo = response.json()
    assert (echo["method"], echo["query"], echo["length"]) == ("PUT", "a=1&b=%20", len(body))
    assert echo["body"].encode("latin-1") == body[:100]
    assert ["x-mine", "yes"] in echo["headers"]


@pytest.mark.parametrize("status", [200, 201, 204, 304, 400, 404, 418, 500, 503])
def test_every_status_passes(web: Handlers, status: int) -> None:
    response = httpx.get(web.url(f"/web?status={status}"))
    assert response.status_code == status
    assert response.headers["x-from"] == "the plugin"
    assert response.text == ("" if status in (204, 304) else f"status {status}")


def test_a_head_request_has_headers_and_no_body(web: Handlers) -> None:
    response = httpx.head(web.url("/web?status=200"))
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["x-from"] == "the plugin"


def test_the_node_s_own_headers_stay_where_the_protocol_lets_them(web: Handlers, node: Node) -> None:
    response = httpx.get(web.url("/web?status=200"), headers={"Origin": "http://example.com"})
    if node.protocol in (40, 41):  # the node drops its headers and does not tell the plugin of them
        assert "node-id" not in response.headers
    else:
        assert response.headers["node-id"] == web.node_id
        assert "Origin" in response.headers["vary"]


# Streams. A plain HTTP/1 request is answered in one piece; one with an Upgrade header is not, on
# every version.


class RawClient:
    """A client that shows each part as it comes."""

    def __init__(self, web: Handlers) -> None:
        host, port = web.address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), TIMEOUT_S)
        self.read = b""

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def until(self, text: bytes) -> bytes:
        """What came up to and with *text*."""
        while text not in self.read:
            received = self.socket.recv(65536)
            assert received, f"the connection ended after {self.read!r}"
            self.read += received
        end = self.read.index(text) + len(text)
        found, self.read = self.read[:end], self.read[end:]
        return found


def go_on(web: Handlers, stream: str) -> None:
    """Lets the plugin send the stream's next part."""
    assert httpx.get(web.url(f"/web?go={stream}")).text == "gone"


def test_a_stream_arrives_part_by_part(web: Handlers) -> None:
    with RawClient(web) as client:
        request = f"GET {web.path}/web?stream=one&parts={PARTS} HTTP/1.1\r\nHost: localhost\r\n"
        client.send(f"{request}Connection: Upgrade\r\nUpgrade: stream\r\n\r\n".encode())
        head = client.until(b"\r\n\r\n").decode().lower()
        assert head.startswith("http/1.1 200")
        assert "content-type: text/event-stream" in head
        for part in range(PARTS):
            client.until(b"data: %d\n\n" % part)  # the plugin waits, so this has come on its own
            go_on(web, "one")
        client.until(b"0\r\n\r\n")


def test_a_streamed_request_s_body_arrives_whole(web: Handlers) -> None:
    body = os.urandom(100_000)
    headers = {"Connection": "Upgrade", "Upgrade": "stream", "X-Mine": "yes"}
    response = httpx.post(web.url("/web"), content=body, headers=headers)
    echo = response.json()
    assert (echo["method"], echo["http_version"], echo["length"]) == ("POST", "1.1", len(body))
    assert echo["body"].encode("latin-1") == body[:100]
    assert ["x-mine", "yes"] in echo["headers"]
    assert ["host", web.address] in echo["headers"]


def test_a_client_that_leaves_a_stream_does_not_hurt_the_chain(web: Handlers, host: GoHost) -> None:
    with RawClient(web) as client:
        request = f"GET {web.path}/web?stream=left&parts=9 HTTP/1.1\r\nHost: localhost\r\n"
        client.send(f"{request}Connection: Upgrade\r\nUpgrade: stream\r\n\r\n".encode())
        client.until(b"data: 0\n\n")
    go_on(web, "left")
    assert host.health()["health"] == {"height": 0}


def http2_route(web: Handlers, node: Node) -> dict[str, str]:
    """The header that routes a request to the plugin's own handler."""
    return {"chain-id" if node.protocol == 41 else "Avalanche-Api-Route": web.chain_id}


# Nodes speak HTTP/2 without TLS from protocol 41 on.
with_http2 = pytest.mark.parametrize(
    "node",
    [node for node in NODES.values() if node.protocol >= 41],
    ids=lambda node: f"node-{node.name}",
    indirect=True,
)


@pytest.fixture
def http2() -> Iterator[httpx.Client]:
    with httpx.Client(http1=False, http2=True, timeout=TIMEOUT_S) as client:
        yield client


@with_http2
def test_an_http2_stream_arrives_part_by_part(web: Handlers, node: Node, http2: httpx.Client) -> None:
    url = web.url(f"/web?stream=two&parts={PARTS}")
    with http2.stream("GET", url, headers=http2_route(web, node)) as response:
        assert (response.status_code, response.http_version) == (200, "HTTP/2")
        lines = response.iter_lines()
        for part in range(PARTS):
            assert next(lines) == f"data: {part}"
            assert next(lines) == ""
            go_on(web, "two")
        assert list(lines) == []


@with_http2
def test_an_http2_body_is_read_as_it_comes(web: Handlers, node: Node, http2: httpx.Client) -> None:
    chunks = [os.urandom(70_000) for _ in range(10)]
    response = http2.post(web.url("/web"), content=iter(chunks), headers=http2_route(web, node))
    echo = response.json()
    assert (echo["method"], echo["http_version"], echo["length"]) == ("POST", "2", 700_000)
    assert echo["body"].encode("latin-1") == chunks[0][:100]


@with_http2
def test_http2_goes_by_path_from_protocol_42(web: Handlers, node: Node, http2: httpx.Client) -> None:
    response = http2.get(web.url("/web"))
    if node.protocol == 41:
        assert response.status_code == 400  # by header only
        return
    assert response.json()["path"] == f"{web.path}/web"
    assert "x-routed" not in response.headers


def test_the_vm_s_own_handler_is_routed_by_header(web: Handlers, node: Node) -> None:
    assert web.own_handler is (node.protocol >= 41)
    if node.protocol < 41:
        return
    version: dict[str, Any] = {"http1": False, "http2": True} if node.protocol == 41 else {}
    with httpx.Client(timeout=TIMEOUT_S, **version) as client:
        response = client.get(f"http://{web.address}/any/where", headers=http2_route(web, node))
        assert response.json()["path"] == "/any/where"
        assert response.headers["x-routed"] == "by header"


# WebSockets


def test_a_websocket_carries_text_and_bytes_both_ways(web: Handlers) -> None:
    with connect(web.url("/web", "ws"), open_timeout=TIMEOUT_S, compression=None) as websocket:
        websocket.send("hello")
        assert websocket.recv(TIMEOUT_S) == "HELLO"
        big = os.urandom(900_000)
        websocket.send(big)
        assert websocket.recv(TIMEOUT_S) == big[::-1]


def test_a_websocket_closes_with_the_vm_s_code_and_reason(web: Handlers) -> None:
    with connect(web.url("/web", "ws"), open_timeout=TIMEOUT_S) as websocket:
        websocket.send("close")
        with pytest.raises(websockets.exceptions.ConnectionClosedError) as closed:
            websocket.recv(TIMEOUT_S)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "asked to")


def test_what_follows_the_upgrade_at_once_is_not_lost(web: Handlers) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    handshake = (
        f"GET {web.path}/web HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
    masked_early = b"\x81\x85\0\0\0\0early"
    with RawClient(web) as client:
        client.send(handshake.encode() + masked_early)
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101")
        assert client.until(b"EARLY") == b"\x81\x05EARLY"


def test_a_json_rpc_call_that_is_refused_says_why(web: Handlers) -> None:
    response = httpx.post(web.url("/rpc"), content=b"{", headers={"Content-Type": "application/json"})
    assert response.status_code == 200
    assert json.loads(response.text)["error"]["code"] == -32700
