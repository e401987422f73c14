"""The addresses of a plugin's servers: private sockets, and ports where there can't be any."""

from __future__ import annotations

import logging
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from vmsdk import address
from vmsdk.address import MAX_PATH_BYTES, Addresses, remove_stale
from vmsdk.errors import VMError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no Unix sockets for gRPC")


@pytest.fixture
def server() -> Iterator[grpc.Server]:
    server = grpc.server(ThreadPoolExecutor(1))
    yield server
    server.stop(None).wait()


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only temporary directory there is: below /tmp, since pytest's own paths may be long."""
    path = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    monkeypatch.setattr(address, "_temporary_directories", lambda: [str(path)])
    yield path
    path.chmod(0o700)
    for each in sorted(path.rglob("*"), reverse=True):
        each.rmdir() if each.is_dir() else each.unlink()
    path.rmdir()


def owner_of(parent: Path, *, then: str = "input()") -> subprocess.Popen[str]:
    """A process with a directory of sockets in *parent*, which it has when it has printed its
    path.
    """
    code = (
        "import os, sys; from vmsdk import address; "
        "address._temporary_directories = lambda: [sys.argv[1]]; "
        f"a = address.Addresses('unix'); print(a._directory.path, flush=True); {then}"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_sockets_are_in_a_directory_of_their_owner_and_gone_when_closed(
    server: grpc.Server, parent: Path
) -> None:
    addresses = Addresses()
    first, second = addresses.listen(server), addresses.listen(server)
    (directory,) = parent.iterdir()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {first, second} == {f"unix:{path}" for path in directory.iterdir()}
    addresses.close()
    addresses.close()
    assert list(parent.iterdir()) == []


def test_tcp_is_a_port_of_the_loopback_interface_and_no_directory(server: grpc.Server, parent: Path) -> None:
    addresses = Addresses("tcp")
    host, _, port = addresses.listen(server).rpartition(":")
    assert (host, int(port) > 0, list(parent.iterdir())) == ("127.0.0.1", True, [])
    addresses.close()


def test_a_path_too_long_for_a_socket_means_tcp_and_one_warning(
    server: grpc.Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    long = tmp_path / ("x" * MAX_PATH_BYTES)
    long.mkdir()
    monkeypatch.setattr(address, "_temporary_directories", lambda: [str(long)])
    assert Addresses().listen(server).startswith("127.0.0.1:")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"more than {MAX_PATH_BYTES} bytes" in record.getMessage()
    assert list(long.iterdir()) == []


@pytest.mark.parametrize("name", ["a?b", "a#b", "a,b", "a%41b", "a\nb", os.fsdecode(b"a\xffb")], ids=ascii)
def test_a_directory_that_cannot_be_part_of_an_address_is_left_for_the_next(
    server: grpc.Server, parent: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    odd = parent / name
    odd.mkdir()
    monkeypatch.setattr(address, "_temporary_directories", lambda: [str(odd), str(parent)])
    addresses = Addresses("unix")
    target = addresses.listen(server)
    assert target.startswith(f"unix:{parent}/vmsdk-plugin-")
    server.start()
    with grpc.insecure_channel(target) as channel:
        grpc.channel_ready_future(channel).result(60)
    addresses.close()


def test_without_a_temporary_directory_it_is_tcp_unless_sockets_are_demanded(
    server: grpc.Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(address, "_temporary_directories", lambda: ["/nowhere", "/dev/null"])
    assert Addresses().listen(server).startswith("127.0.0.1:")
    assert "/nowhere: No such file or directory; /dev/null: Not a directory" in caplog.text
    with pytest.raises(VMError, match="transport=tcp"):
        Addresses("unix")


def test_a_directory_that_is_removed_meanwhile_means_tcp_for_the_next_server(
    server: grpc.Server, parent: Path, caplog: pytest.LogCaptureFixture
) -> None:
    addresses, demanding = Addresses(), Addresses("unix")
    for directory in parent.iterdir():
        directory.rmdir()
    assert addresses.listen(server).startswith("127.0.0.1:")
    assert len(caplog.records) == 1
    with pytest.raises(VMError):
        demanding.listen(server)
    addresses.close()
    demanding.close()


def test_the_first_temporary_directory_that_will_do_is_taken(
    parent: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(address, "_temporary_directories", lambda: ["/nowhere", str(parent)])
    addresses = Addresses()
    assert len(list(parent.iterdir())) == 1
    assert caplog.records == []
    addresses.close()


def test_the_directory_of_a_killed_process_is_removed_and_that_of_a_living_one_stays(parent: Path) -> None:
    with owner_of(parent) as killed, owner_of(parent) as living:
        assert killed.stdout is not None
        assert living.stdout is not None
        stale, used = Path(killed.stdout.readline().strip()), Path(living.stdout.readline().strip())
        (stale / "0.sock").touch()
        remove_stale(str(parent))
        assert stale.exists()
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        remove_stale(str(parent))
        assert [stale.exists(), used.exists()] == [False, True]
        living.kill()


def test_nothing_is_removed_that_is_not_ours(parent: Path) -> None:
    notes = parent / "vmsdk-plugin-notes"
    filled = parent / "vmsdk-plugin-1-0123abcd"
    linked = parent / "vmsdk-plugin-2-0123abcd"
    for directory in (notes, filled):
        directory.mkdir()
        (directory / "important.txt").touch()
    linked.symlink_to(notes)
    remove_stale(str(parent))
    assert (notes / "important.txt").exists()
    assert (filled / "important.txt").exists()
    assert linked.is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes a directory of another user's")
def test_another_users_directory_is_left_alone_by_root_too(parent: Path) -> None:
    others = parent / "vmsdk-plugin-1-0123abcd"
    others.mkdir()
    os.chown(others, 65_534, 65_534)
    remove_stale(str(parent))
    assert others.exists()


def test_a_forked_child_that_ends_leaves_its_parents_sockets(parent: Path) -> None:
    fork = "child = os.fork(); a.close() if child == 0 else os.waitpid(child, 0); input() if child else os._exit(0)"  # noqa: E501
    with owner_of(parent, then=fork) as owner:
        assert owner.stdout is not None
        assert owner.stdin is not None
        path = Path(owner.stdout.readline().strip())
        assert path.exists()
        owner.communicate("\n")
        assert path.exists()


def test_many_that_start_and_clean_up_at_once_all_get_a_directory_of_their_own(parent: Path) -> None:
    def make(_: int) -> Addresses:
        made = Addresses("unix")
        made.remove_stale()
        return made

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, range(200)))
    assert len(list(parent.iterdir())) == 200
    for each in made:
        each.close()
    assert list(parent.iterdir()) == []
