"""Who can reach a plugin: its node, and with Unix sockets no other user of the machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vmsdk.address import TRANSPORT_VARIABLE
from vmsdk.host.node import Host
from vmsdk.host.plugin import ENGINE_ADDRESS_KEY

from .plugin import PATIENCE_S, lively, node_to_kill

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no Unix sockets for gRPC")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: connects as another user")
# Of the user "nobody" on most systems; one without a name will do as well.
ANOTHER_USER = 65_534


def directory_of(host: Host) -> Path:
    address = host.process.address
    assert address is not None
    return Path(address.removeprefix("unix:")).parent


def await_removal(directory: Path) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while directory.exists():
        assert time.monotonic() < deadline_s, f"{directory} is still there"
        threading.Event().wait(0.02)


def connect(address: str) -> None:
    """Open a connection to a server of a plugin. Raises `OSError`."""
    if address.startswith("unix:"):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(address.removeprefix("unix:"))
    else:
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=PATIENCE_S).close()


# Not a fork of this process: gRPC's threads of the last test may be in the middle of something.
CONNECTS = """
import os, socket, sys
user, address = int(sys.argv[1]), sys.argv[2]
os.setgroups([]); os.setgid(user); os.setuid(user)
kind, where = socket.AF_UNIX, address.removeprefix("unix:")
if where == address:
    host, _, port = address.rpartition(":")
    kind, where = socket.AF_INET, (host, int(port))
try:
    socket.socket(kind).connect(where)
except PermissionError:
    sys.exit(2)
"""


def connects_as_another_user(address: str) -> bool:
    command = [sys.executable, "-c", CONNECTS, str(ANOTHER_USER), address]
    status = subprocess.run(command, timeout=PATIENCE_S, check=False).returncode
    assert status in (0, 2), "the child has failed otherwise"
    return status == 0


@needs_root
@pytest.mark.parametrize("transport", ["auto", "unix", "tcp"])
def test_only_ports_are_open_to_other_users(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TRANSPORT_VARIABLE, raising=False)
    with Host(lively(transport=transport, serve_http=True)) as host:
        addresses = [host.process.address or "", *host.chain.handlers.values()]
        assert len(addresses) == 3
        for address in addresses:
            connect(address)
            assert connects_as_another_user(address) == (transport == "tcp"), address


# What another user sends: a call of `vm.VM`, and a request to each kind of HTTP server.
CALLS = """
import os, sys
import grpc
def call(address, method):
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(method)(b"", timeout=60)
            return "OK"
        except grpc.RpcError as error:
            return f"{error.code().name} {error.details()}"
call("127.0.0.1:1", "/none")  # imports all that it needs, while it may read the files
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
server, *handlers = sys.argv[2:]
calls = [(server, f"/vm.VM/{name}") for name in ("Version", "Shutdown", "Initialize", "Gather")]
calls += [(each, f"/http.HTTP/{name}") for each in handlers for name in ("HandleSimple", "Handle")]
for address, method in calls:
    print(method, call(address, method))
"""


def calls_of(user: int, addresses: list[str]) -> list[str]:
    command = [sys.executable, "-c", CALLS, str(user), *addresses]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=PATIENCE_S * 4, check=True)
    return done.stdout.splitlines()


@needs_root
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux lists sockets' owners")
@pytest.mark.parametrize("server", ["fast", "public"])
def test_on_a_port_the_calls_of_other_users_are_refused_without_details(server: str) -> None:
    plugin = ["/usr/bin/env", f"GRPC_VMSDK_SERVER={server}", *lively(transport="tcp", serve_http=True)]
    with Host(plugin) as host:
        addresses = [host.process.address or "", *host.chain.handlers.values()]
        assert all(each.startswith("127.0.0.1:") for each in addresses)
        lines = calls_of(ANOTHER_USER, addresses)
        assert len(lines) == 8
        assert {line.partition(" ")[2] for line in lines} == {"PERMISSION_DENIED not permitted"}
        assert host.chain.version() == "0.0.1-plain"
        assert calls_of(0, addresses)[0] == "/vm.VM/Version OK"


@needs_root
def test_the_check_can_be_turned_off() -> None:
    with Host(lively(transport="tcp-any-user")) as host:
        assert calls_of(ANOTHER_USER, [host.process.address or ""])[0] == "/vm.VM/Version OK"


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_the_transport_can_be_forced(transport: str) -> None:
    with Host(lively(transport=transport, serve_http=True)) as host:
        for address in (host.process.address or "", *host.chain.handlers.values()):
            assert address.startswith("unix:" if transport == "unix" else "127.0.0.1:")


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_the_nodes_environment_chooses_unless_the_plugin_does(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRANSPORT_VARIABLE, transport)
    with Host(lively(serve_http=True)) as host:
        for address in (host.process.address or "", *host.chain.handlers.values()):
            assert address.startswith("unix:" if transport == "unix" else "127.0.0.1:")
    monkeypatch.setenv(TRANSPORT_VARIABLE, "pigeon")
    with Host(lively(transport=transport)) as host:
        assert (host.process.address or "").startswith("unix:" if transport == "unix" else "127.0.0.1:")


@pytest.mark.parametrize(("said_by", "status"), [("transport", 1), (TRANSPORT_VARIABLE, 2)])
def test_an_unknown_transport_is_named(said_by: str, status: int) -> None:
    environment = {ENGINE_ADDRESS_KEY: "127.0.0.1:1"}
    orders: dict[str, str] = {}
    (environment if said_by == TRANSPORT_VARIABLE else orders)[said_by] = "pigeon"
    done = subprocess.run(
        lively(**orders),
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=False,
    )
    assert f"{said_by} is 'pigeon', but must be one of auto, unix, tcp, tcp-any-user" in done.stderr
    assert done.returncode == status


def test_the_sockets_are_gone_when_the_plugin_has_ended() -> None:
    with Host(lively(transport="unix")) as host:
        assert directory_of(host).exists()
    assert not directory_of(host).exists()


def test_a_plugin_that_no_node_started_leaves_no_sockets() -> None:
    with subprocess.Popen(lively(), env={}, stderr=subprocess.DEVNULL) as plugin:
        assert plugin.wait(PATIENCE_S) == 2
    assert list(Path("/tmp").glob(f"vmsdk-plugin-{plugin.pid}-*")) == []


def test_what_a_killed_plugin_left_is_removed_at_the_next_start_and_nothing_that_is_used() -> None:
    with Host(lively(transport="unix")) as living, Host(lively(transport="unix")) as killed:
        killed.kill()
        # Any plugin that another test starts removes it, too.
        directory_of(killed).mkdir(exist_ok=True)
        with Host(lively(transport="unix")):
            await_removal(directory_of(killed))  # The plugin serves before it cleans up.
            assert directory_of(living).exists()
            assert living.chain.version() == "0.0.1-plain"


@pytest.mark.parametrize("hang_at_shutdown", [False, True])
def test_a_plugin_whose_node_is_killed_leaves_no_sockets(hang_at_shutdown: bool) -> None:
    with node_to_kill(lively(transport="unix", hang_at_shutdown=hang_at_shutdown)) as pid:
        assert len(list(Path("/tmp").glob(f"vmsdk-plugin-{pid}-*"))) == 1
    assert list(Path("/tmp").glob(f"vmsdk-plugin-{pid}-*")) == []
