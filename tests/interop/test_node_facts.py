"""What nodes do in cases that their sources only let one guess; FINDINGS.md has the list."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path

import httpx
import pytest

from .build import build
from .gohost import GoHost, GoHostError
from .nodes import NEWEST, NODES, Node
from .processes import OtherProcess
from .pyplugin import raw_plugin
from .rawplugin import ODD_ID

GENESIS = b"genesis"
TIMEOUT_S = 60.0
# Long against a call (1 ms), short against a reader's patience.
NO_ANSWER_S = 1.0


@pytest.fixture
def newest() -> Iterator[GoHost]:
    with GoHost(NEWEST) as host:
        yield host


def test_a_plugin_may_serve_before_the_handshake(host: GoHost, node: Node, tmp_path: Path) -> None:
    assert host.run(raw_plugin(tmp_path, "serve first", node.protocol), GENESIS).raw == b"genesis"


def test_an_ipv6_address_is_dialled(host: GoHost, node: Node, tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert host.run(raw_plugin(tmp_path, "ipv6", node.protocol), GENESIS).raw == b"genesis"


def test_two_prefixes_may_share_an_address(host: GoHost, node: Node, tmp_path: Path) -> None:
    host.run(raw_plugin(tmp_path, "share", node.protocol), GENESIS)
    handlers = host.create_handlers()
    for prefix in ("/one", "/two"):
        assert httpx.get(handlers.url(prefix)).text == f"{handlers.path}{prefix}"


def test_metric_fields_of_newer_nodes_do_not_hurt_older_ones(
    host: GoHost, node: Node, tmp_path: Path
) -> None:
    host.run(raw_plugin(tmp_path, "metrics", node.protocol), GENESIS)
    (line,) = [line for line in host.gather().splitlines() if "raw_total{" in line]
    assert line.endswith(" 4")


def test_an_unknown_error_number_takes_the_node_down_or_passes_for_success(
    host: GoHost, node: Node, tmp_path: Path
) -> None:
    host.run(raw_plugin(tmp_path, "errors", node.protocol), GENESIS)
    with pytest.raises(GoHostError, match="neither a summary nor an error"):
        host.last_state_summary()
    with pytest.raises(GoHostError, match="the host has ended") as ended:
        host.get_block(ODD_ID)
    assert "nil pointer dereference" in ended.value.text


def upgrade_request(host: GoHost, query: str) -> socket.socket:
    """A request that a node of any version hands over by Handle."""
    handlers = host.create_handlers()
    address, port = handlers.address.rsplit(":", 1)
    client = socket.create_connection((address, int(port)), TIMEOUT_S)
    head = f"GET {handlers.path}/one?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"  # noqa: E501
    client.sendall(head.encode())
    return client


def everything(client: socket.socket) -> bytes:
    received = b""
    with client:
        while chunk := client.recv(65536):
            received += chunk
            if received.endswith((b"0\r\n\r\n", b"body")):
                break
    return received


def test_an_informational_status_uses_up_the_one_status(host: GoHost, node: Node, tmp_path: Path) -> None:
    host.run(raw_plugin(tmp_path, "http", node.protocol), GENESIS)
    answer = everything(upgrade_request(host, "informational"))
    first, _, rest = answer.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 103 ")
    assert rest.startswith(b"HTTP/1.1 200 ")
    assert b"418" not in answer


def test_what_is_written_to_a_hijacked_writer_is_never_flushed(
    host: GoHost, node: Node, tmp_path: Path
) -> None:
    host.run(raw_plugin(tmp_path, "http", node.protocol), GENESIS)
    assert everything(upgrade_request(host, "unflushed")) == b"through the connection"


# Older nodes send the body with the request, and serve no reader for it.
@pytest.mark.parametrize(
    "node",
    [node for node in NODES.values() if node.protocol >= 40],
    ids=lambda node: f"node-{node.name}",
    indirect=True,
)
def test_a_read_of_negative_length_takes_the_node_down(host: GoHost, node: Node, tmp_path: Path) -> None:
    host.run(raw_plugin(tmp_path, "http", node.protocol), GENESIS)
    with upgrade_request(host, "negative") as client:
        assert client.recv(1) == b""
    with pytest.raises(GoHostError, match="makeslice: len out of range"):
        host.health()


def test_calls_of_a_dead_plugin_wait_and_only_health_fails(newest: GoHost) -> None:
    newest.run(build("timestampvm", NEWEST), GENESIS)
    newest.signal(signal.SIGKILL)
    with pytest.raises(GoHostError, match="health check failed"):
        newest.health()
    waiting = newest.submit("get_block_id_at_height", height=5)
    with pytest.raises(FutureTimeout):
        waiting.result(NO_ANSWER_S)
    newest.cancel(waiting)
    with pytest.raises(GoHostError, match="code = Canceled"):
        waiting.result(TIMEOUT_S)


def test_a_go_plugin_dies_of_the_first_signal_that_it_ignores_after_its_node_was_killed(
    newest: GoHost,
) -> None:
    pid = newest.start(build("timestampvm", NEWEST)).pid
    newest.initialize(GENESIS)
    with OtherProcess(pid) as plugin:
        newest.kill()
        # Those of the node's death may come while the node's pipes are still open.
        plugin.signal(signal.SIGTERM)
        assert plugin.ended()


def test_a_go_plugin_of_a_later_release_refuses_the_first_node_of_protocol_44() -> None:
    with GoHost("44-first") as host:
        host.start(build("timestampvm", NODES["44"]))
        with pytest.raises(GoHostError, match="invalid timestamp"):
            host.initialize(GENESIS)
