"""Which users' calls a plugin on a TCP port takes, by the system's own list of sockets."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmsdk.rpc import peercheck
from vmsdk.rpc.peercheck import TABLES, VALID_S, PeerCheck, peer_check

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux lists sockets' owners")

ME = os.geteuid()


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def clock() -> Clock:
    return Clock()


def port_of(bound: socket.socket) -> int:
    return int(bound.getsockname()[1])


def name_of(client: socket.socket) -> str:
    return f"ipv4:127.0.0.1:{port_of(client)}"


def connect(listener: socket.socket) -> socket.socket:
    return socket.create_connection(listener.getsockname())


def check(listener: socket.socket, *users: int, **options: object) -> PeerCheck:
    return PeerCheck(port_of(listener), frozenset(users), **options)  # type: ignore[arg-type]


def test_the_owner_of_a_connection_is_found(listener: socket.socket) -> None:
    with connect(listener) as client:
        assert check(listener).owner(name_of(client)) == ME
        assert check(listener, ME).admits(name_of(client))
        assert not check(listener, ME + 1).admits(name_of(client))


def test_so_is_that_of_an_ipv6_socket_with_an_ipv4_address(listener: socket.socket) -> None:
    try:
        client = socket.socket(socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with client:
        client.connect(("::ffff:127.0.0.1", port_of(listener)))
        assert check(listener).owner(name_of(client)) == ME


def test_a_connection_to_another_port_does_not_count(listener: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, connect(other) as client:
        assert check(listener).owner(name_of(client)) is None


def test_a_socket_that_its_process_has_closed_is_not_taken_for_roots(listener: socket.socket) -> None:
    client = connect(listener)
    served, _ = listener.accept()
    with served:
        name = name_of(client)
        client.close()
        rows = Path(f"{TABLES}tcp").read_text().splitlines()
        assert any(f":{port_of(served):04X} " in row for row in rows), "the system still lists it"
        assert check(listener).owner(name) is None
        assert not check(listener, 0, ME).admits(name)


@pytest.mark.parametrize("peer", ["", "unix:", "unix:/tmp/x", "ipv6:[::1]:80", "unknown"])
def test_what_is_not_an_ipv4_address_is_refused(listener: socket.socket, peer: str) -> None:
    assert not check(listener, 0, ME).admits(peer)


def test_the_table_is_read_once_a_second_for_each_connection(
    listener: socket.socket, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    owner = PeerCheck.owner

    def counted(self: PeerCheck, peer: str) -> int | None:
        reads.append(peer)
        return owner(self, peer)

    monkeypatch.setattr(PeerCheck, "owner", counted)
    checked = check(listener, ME, clock=clock)
    with connect(listener) as client, connect(listener) as other:
        for _ in range(100):
            assert checked.admits(name_of(client))
            assert checked.admits(name_of(other))
        assert reads == [name_of(client), name_of(other)]
        clock.now_s += VALID_S
        assert checked.admits(name_of(client))
        assert len(reads) == 3


def test_a_port_that_another_user_gets_later_is_looked_at_again(
    tmp_path: Path, listener: socket.socket, clock: Clock
) -> None:
    def row(user: int) -> None:
        local, remote = "0100007F:1388", f"0100007F:{port_of(listener):04X}"
        text = f"   0: {local} {remote} 01 00000000:00000000 00:00000000 00000000  {user}        0 77 1 0\n"
        (tmp_path / "tcp").write_text(text)

    checked = check(listener, 1000, tables=f"{tmp_path}/", clock=clock)
    row(1000)
    assert checked.admits("ipv4:127.0.0.1:5000")
    row(1001)
    clock.now_s += VALID_S
    assert not checked.admits("ipv4:127.0.0.1:5000")


def test_a_node_that_was_admitted_stays_so_while_the_table_can_not_be_read(
    tmp_path: Path, listener: socket.socket, clock: Clock
) -> None:
    with connect(listener) as client, connect(listener) as other:
        checked = check(listener, ME, clock=clock)
        assert checked.admits(name_of(client))
        checked._tables = f"{tmp_path}/"
        (tmp_path / "tcp").mkdir()
        clock.now_s += VALID_S
        assert checked.admits(name_of(client))
        assert not checked.admits(name_of(other))


def test_refusals_are_logged_ever_less_often(
    listener: socket.socket, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    checked = check(listener, ME + 1, clock=clock)
    with connect(listener) as client:
        for _ in range(9):
            clock.now_s += VALID_S
            checked.admits(name_of(client))
    assert len(caplog.messages) == 4
    assert caplog.messages[0] == (
        f"refused a call by user {ME} of this machine (1 so far): only the node may call the VM"
    )
    assert "(8 so far)" in caplog.messages[-1]


def test_no_more_verdicts_are_remembered_than_a_limit(listener: socket.socket) -> None:
    checked = check(listener, ME)
    for port in range(peercheck._MAX_VERDICTS + 5):
        checked.admits(f"unix:{port}")
    assert len(checked._verdicts) <= peercheck._MAX_VERDICTS


def test_only_tcp_ports_are_checked_unless_every_user_is_welcome() -> None:
    assert peer_check("unix:/tmp/x.sock", "auto") is None
    assert peer_check("127.0.0.1:80", "tcp-any-user") is None
    for transport in ("auto", "tcp"):
        assert peer_check("127.0.0.1:80", transport) is not None


def test_where_the_system_does_not_say_who_calls_that_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(peercheck, "TABLES", f"{tmp_path}/")
    assert peer_check("127.0.0.1:80", "tcp") is None
    assert "other users of this machine can call the VM" in caplog.text
