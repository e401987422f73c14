"""The record of a network on the disk, changed by one process at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vmsdk.network import state
from vmsdk.network.errors import NetworkBusy, NetworkError, NetworkNotFound
from vmsdk.network.state import (
    ChainRecord,
    InvalidState,
    NetworkRecord,
    NodeRecord,
    Store,
    existing_networks,
    networks_dir,
)

CHAIN = ChainRecord("ts", "chain ID", "subnet ID", "VM ID", "timestampvm", "vm.py:VM", "00")


def record() -> NetworkRecord:
    nodes = [NodeRecord("node1", 9650, 9651, True, "NodeID-1", 17, 1.5), NodeRecord("node2")]
    return NetworkRecord(
        "test", "/bin/node", "avalanchego/1.14.2", 45, {"log-level": "debug"}, nodes, [CHAIN]
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.create(record())
    return store


def test_what_is_saved_is_loaded(store: Store) -> None:
    assert store.load() == record()


def test_nodes_and_chains_are_found_by_name_and_chains_by_id() -> None:
    assert record().node("node2").name == "node2"
    assert record().chain("ts") == record().chain("chain ID") == CHAIN


def test_an_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(NetworkError, match="it has node1, node2"):
        record().node("node3")
    with pytest.raises(NetworkError, match="it has ts"):
        record().chain("xs")


def test_a_directory_without_a_network_is_reported(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "none"):
        with pytest.raises(NetworkNotFound, match=f"no network in {directory}:"):
            Store(directory).load()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", ""),
        (b"no JSON", ""),
        (b"\x00", ""),
        (b"\x80\xff", ""),
        (b"[]", "it is not a JSON object"),
        (b"null", "it is not a JSON object"),
        (b"{}", "it has no 'format'"),
        (b'{"format": 1}', "it has no 'nodes'"),
        (b'{"format": 1, "nodes": []}', "it has no nodes"),
        (b'{"format": 1, "nodes": [{}], "chains": []}', ""),
    ],
)
def test_a_damaged_record_is_reported(store: Store, content: bytes, reason: str) -> None:
    store.path.write_bytes(content)
    with pytest.raises(InvalidState, match=rf"does not describe a network: {reason}.*vmsdk network clean"):
        store.load()


def test_a_record_of_another_version_is_not_guessed_at(store: Store) -> None:
    said = json.loads(store.path.read_text())
    store.path.write_text(json.dumps({**said, "format": 2}))
    with pytest.raises(InvalidState, match="its format is 2"):
        store.load()


def test_a_change_is_written_even_if_it_ends_in_an_error(store: Store) -> None:
    def change() -> None:
        with store.changing() as network:
            network.node("node1").pid = 99
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change()
    assert store.load().node("node1").pid == 99


def test_changes_of_several_threads_do_not_undo_each_other(store: Store) -> None:
    def add_flags(thread: int) -> None:
        for i in range(20):
            with store.changing() as network:
                network.flags[f"{thread}-{i}"] = ""

    threads = [threading.Thread(target=add_flags, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.load().flags) == 1 + 4 * 20


def test_another_process_waits_for_its_turn_and_fails_when_it_takes_too_long(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom vmsdk.network.state import Store\n"
        f"with Store(Path({str(store.directory)!r})).locked():\n    print(flush=True)\n    "
        "sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        monkeypatch.setattr(state, "LOCK_TIMEOUT_S", 0.1)
        with pytest.raises(NetworkBusy), store.locked():
            pass
        monkeypatch.setattr(state, "LOCK_TIMEOUT_S", 60.0)
        assert other.stdin is not None
        other.stdin.write(b"\n")
        other.stdin.close()
        with store.changing():  # the other's end frees it
            pass


def test_the_lock_may_be_taken_again_by_who_has_it(store: Store) -> None:
    with store.locked(), store.changing() as network:
        network.name = "changed"
    assert store.load().name == "changed"


def test_a_lock_of_nothing_makes_nothing(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "none"):
        with pytest.raises(NetworkNotFound), Store(directory).locked():
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_works_where_only_a_file_open_for_writing_can_be_locked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock

    def flock_of_nfs(descriptor: int, operation: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock_of_nfs)
    with store.locked():
        pass
    with Store(store.directory / "new").creating():
        pass


def test_a_file_system_without_locks_is_named_and_leaves_nothing_open(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []

    def flock(descriptor: int, operation: int) -> None:
        opened.append(descriptor)
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    for lock in (store.locked, store.creating):
        with pytest.raises(NetworkError, match=rf"can't lock {store.directory}/lock: No locks avail"), lock():
            pass
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(opened[-1])


@pytest.mark.parametrize("is_there", [False, True])
def test_a_first_start_on_a_file_system_without_locks_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    directory = tmp_path / "networks" / "first"
    if is_there:
        directory.mkdir(parents=True)
    with pytest.raises(NetworkError, match="No locks available"), Store(directory).creating():
        pass
    assert list(tmp_path.rglob("*")) == ([directory.parent, directory] if is_there else [])


@pytest.mark.parametrize("is_opened", [False, True])
def test_a_refused_start_leaves_the_lock_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_opened: bool
) -> None:
    def refuse(*arguments: object) -> int:
        lock.write_bytes(b"")  # also if it is made in this moment
        raise PermissionError(errno.EACCES, "Permission denied")

    lock = tmp_path / "lock"
    if is_opened:
        lock.touch()
    monkeypatch.setattr(*((fcntl, "flock", refuse) if is_opened else (os, "open", refuse)))
    with pytest.raises(NetworkError, match=r"can't lock .*: Permission denied"), Store(tmp_path).creating():
        pass
    assert lock.exists()


def test_a_lock_that_cannot_be_opened_is_named(store: Store) -> None:
    (store.directory / "lock").mkdir()
    for lock in (store.locked, store.creating):
        with pytest.raises(NetworkError, match=r"can't lock .*/lock: Is a directory"), lock():
            pass


def while_another_waits(store: Store, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> list[str]:
    """Call *act* with the lock while another waits for it; return what the other finds."""
    waits = threading.Event()
    real = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        try:
            real(descriptor, operation)
        except BlockingIOError:
            waits.set()
            raise

    def find() -> list[str]:
        with Store(store.directory).changing() as network:
            monkeypatch.setattr(state, "LOCK_TIMEOUT_S", 0.0)
            with pytest.raises(NetworkBusy), Store(store.directory).locked():
                pass
            return [network.name]

    monkeypatch.setattr(fcntl, "flock", flock)
    with ThreadPoolExecutor(1) as pool:
        with store.locked():
            other = pool.submit(find)
            assert waits.wait(60)
            act()
        return other.result()


def test_who_waits_for_a_network_that_is_removed_does_not_bring_back_its_directory(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NetworkNotFound):
        while_another_waits(store, monkeypatch, store.remove)
    assert not store.directory.exists()


def test_who_comes_just_when_a_network_is_removed_does_not_bring_back_its_directory(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def open_after_removal(path: Path, *options: int) -> int:
        monkeypatch.setattr(os, "open", real)
        remover = Store(store.directory)
        with remover.locked():
            remover.remove()
        store.directory.mkdir()  # the last that goes
        return real(path, *options)

    monkeypatch.setattr(os, "open", open_after_removal)
    with pytest.raises(NetworkNotFound), store.locked():
        pass
    assert not store.directory.exists()


def test_who_waits_for_a_network_that_is_created_anew_locks_the_new_one(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def create_anew() -> None:
        store.directory.rename(tmp_path_factory.mktemp("removed") / "network")
        with Store(store.directory).creating():
            network = record()
            network.name = "new"
            Store(store.directory).create(network)

    assert while_another_waits(store, monkeypatch, create_anew) == ["new"]


def test_a_network_that_has_lost_its_lock_can_be_changed_and_removed(store: Store) -> None:
    (store.directory / "lock").unlink(missing_ok=True)
    (store.node_dir("node1") / "db").mkdir(parents=True)
    (store.directory / "genesis.json").touch()
    with store.locked():
        store.remove()
    assert not store.directory.exists()


def test_a_network_is_created_beside_nothing_but_a_lock(tmp_path: Path) -> None:
    store = Store(tmp_path / "network")
    for _ in range(2):  # the first leaves its lock, as a start that is killed does
        with store.creating():
            store.check_free()
    (tmp_path / "diary.txt").touch()
    with pytest.raises(NetworkError, match="there are other files in it"), Store(tmp_path).creating():
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["diary.txt", "network"]


def test_the_nodes_get_the_names_of_chains(store: Store) -> None:
    store.write_aliases(store.load())
    assert json.loads(store.aliases_file.read_text()) == {"chain ID": ["ts"]}


def test_configuration_that_is_not_given_leaves_what_there_is(store: Store) -> None:
    store.write_chain_config("chain ID", b"config", b"upgrade")
    store.write_chain_config("chain ID", None, b"newer")
    folder = store.chain_config_dir / "chain ID"
    assert ((folder / "config.json").read_bytes(), (folder / "upgrade.json").read_bytes()) == (
        b"config",
        b"newer",
    )
    store.remove_chain_config("chain ID")
    assert list(store.chain_config_dir.iterdir()) == []


def test_networks_are_kept_where_the_user_keeps_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert existing_networks() == []
    for name in ("b", "a"):
        directory = networks_dir() / name
        Store(directory).create(record())
    (networks_dir() / "no-network").mkdir()
    assert existing_networks() == [networks_dir() / "a", networks_dir() / "b"]
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/user")
    assert networks_dir() == Path("/home/user/.local/share/vmsdk/networks")
