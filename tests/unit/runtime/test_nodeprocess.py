"""The processes above this one."""

from __future__ import annotations

import io
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from vmsdk.runtime import nodeprocess
from vmsdk.runtime.nodeprocess import ancestors, find_node, from_ps, listeners

# What macOS says, to `ps -axo pid=,ppid=,comm=`.
TABLE = """\
    1     0 /sbin/launchd
  501     1 /Applications/Utilities/My Terminal.app/Contents/MacOS/Terminal
  777   501 -zsh
  900   777 /opt/metal go/metalgo
  901   900 /bin/sh
  950   901 /usr/local/bin/python3.11
 1000   999 /usr/bin/orphan
rubbish
"""


def test_the_lineage_is_read_from_the_process_table_of_ps() -> None:
    lineage = from_ps(TABLE, 901)
    assert [(each.pid, each.path) for each in lineage] == [
        (901, "/bin/sh"),
        (900, "/opt/metal go/metalgo"),
        (501, "/Applications/Utilities/My Terminal.app/Contents/MacOS/Terminal"),
        (1, "/sbin/launchd"),
    ]
    assert [each.executable for each in lineage] == [each.path for each in lineage]


@pytest.mark.parametrize("table", ["", "rubbish", "1 1 /a/process/that/is/its/own/parent\n"])
def test_a_process_table_that_is_none_ends(table: str) -> None:
    assert len(from_ps(table, 1)) <= 16


@pytest.mark.skipif(sys.platform != "linux", reason="by /proc")
def test_the_parent_comes_first_with_the_file_that_it_runs() -> None:
    parent = ancestors()[0]
    assert parent.pid == os.getppid()
    assert os.path.samefile(parent.executable, f"/proc/{parent.pid}/exe")
    assert parent.path == os.path.realpath(parent.executable)
    assert parent.arguments()


@pytest.mark.skipif(sys.platform != "linux", reason="by /proc")
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_listening_socket_is_called_as_among_its_owners_files(family: socket.AddressFamily) -> None:
    try:
        server = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        found = listeners(f"127.0.0.1:{server.getsockname()[1]}")
        assert os.readlink(f"/proc/self/fd/{server.fileno()}") in found


def test_a_node_is_found_although_a_read_of_the_table_misses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, me = tmp_path / str(os.getppid()), tmp_path / "self"
    for folder in (node / "fd", me / "net"):
        folder.mkdir(parents=True)
    for link, target in (
        (me / "exe", sys.executable),
        (node / "exe", "/opt/renamed"),
        (node / "fd/7", "socket:[42]"),
    ):
        link.symlink_to(target)
    (node / "stat").write_text("7 (renamed) S 0")
    (node / "cmdline").write_text("/opt/renamed\0")
    head = "  sl  local_address rem_address   st\n"
    row = (
        "   0: 0100007F:25B2 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 42 1 0\n"
    )
    contents = [head, head + row]

    def read(path: str, *arguments: Any, **options: Any) -> Any:
        if path.endswith("/net/tcp"):
            return io.StringIO(contents.pop(0))
        return open(path, *arguments, **options)

    monkeypatch.setattr(nodeprocess, "PROC", str(tmp_path))
    monkeypatch.setattr(nodeprocess, "open", read, raising=False)
    found = find_node("127.0.0.1:9650")
    assert found is not None
    assert found.path == "/opt/renamed"
    assert not contents


@pytest.mark.skipif(sys.platform != "linux", reason="by /proc")
def test_a_connection_is_not_a_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        with client:
            assert listeners(f"127.0.0.1:{client.getsockname()[1]}") == set()


def test_what_is_not_an_address_has_no_listener() -> None:
    assert listeners("rubbish") == set()
    assert listeners("") == set()
