"""The ports of nodes."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from vmsdk.network import node
from vmsdk.network.state import NetworkRecord, NodeRecord


def network(http_port: int = 0, staking_port: int = 0) -> NetworkRecord:
    return NetworkRecord("test", "node", "", 45, nodes=[NodeRecord("node1", http_port, staking_port)])


@pytest.mark.skipif(sys.platform != "linux", reason="the range is in Linux's /proc")
def test_a_nodes_port_is_none_that_the_system_hands_out() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if listener.getsockname()[1] < first or first <= node._LOWEST_PORT:
            pytest.skip("the system hands out all ports")
    assert node._LOWEST_PORT <= node._free_port(network()) < first


def test_two_nodes_do_not_get_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "_bound", lambda port: port)
    monkeypatch.setattr(node, "_steady_ports", lambda: range(20_000, 20_003))
    assert node._free_port(network(20_000, 20_002)) == 20_001


@pytest.mark.parametrize("steady", [0, 1])
def test_where_no_such_port_is_free_a_node_gets_any(monkeypatch: pytest.MonkeyPatch, steady: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        monkeypatch.setattr(node, "_steady_ports", lambda: range(taken, taken + steady))
        port = node._free_port(network())
    assert port not in (0, taken)
