"""The whole host with a plugin process of bare grpcio."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from vmsdk.host import chain as chain_module
from vmsdk.host.errors import (
    ChainMisused,
    DatabaseInUse,
    HandshakeFailed,
    HostError,
    PluginGone,
)
from vmsdk.host.node import Host
from vmsdk.host.sqlite import SQLiteDatabase
from vmsdk.state import State

from .plugin import mining

PLUGINS = Path(__file__).parent / "plugins"
DEADLINE_S = 60


def host(version: int = 45, *manners: str, script: str = "bare_vm.py", **fields: Any) -> Host:
    command = [sys.executable, str(PLUGINS / script), str(version), *manners]
    return Host(command, protocol=version, **fields)


@pytest.fixture(autouse=True)
def no_threads_are_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    ours = ("plugin-", "node-service", "app-", "wait-for-event", "engine")
    left = [one for one in set(threading.enumerate()) - before if one.name.startswith(ours)]
    for thread in left:
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), f"{thread.name} was left running"


@pytest.mark.parametrize("version", range(35, 47))
def test_every_protocol_goes_from_handshake_to_an_accepted_block_and_a_clean_stop(version: int) -> None:
    running = host(version, config=b"1")
    with running:
        assert running.chain.state is State.NORMAL_OP
        if version >= 42:
            assert running.chain.next_event(DEADLINE_S) is not None
        block = running.chain.produce()
        assert running.chain.last_accepted == block
    assert running.process.exit_code == 0


def test_a_file_keeps_the_chain_over_a_stop_and_over_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    with host(config=b"1", database=path) as first:
        first.chain.produce()
    second = host(config=b"1", database=path).start()
    assert second.chain.last_accepted.height == 1
    second.chain.produce()
    assert second.kill() == -signal.SIGKILL
    with host(database=path) as third:
        assert third.chain.last_accepted.height == 2


def test_an_open_database_is_left_open() -> None:
    database = SQLiteDatabase()
    for height in (0, 1):
        with host(config=b"1", database=database) as running:
            assert running.chain.last_accepted.height == height
            running.chain.produce()
    database.close()


def test_a_registration_launch_asks_for_the_version_only() -> None:
    launch = host()
    assert launch.register() == "bare/1.0.0"
    assert launch.process.exit_code == 0


def test_peers_blocks_are_executed_at_the_start() -> None:
    with host(config=b"2") as peer:
        blocks = [peer.chain.produce().raw for _ in range(2)]
    with host(blocks=blocks) as running:
        assert running.chain.last_accepted.height == 2


def test_edge_17_a_call_during_a_kill_fails_and_so_do_all_later_ones() -> None:
    hanging = threading.Event()

    def watch(_stream: str, line: str) -> None:
        if line == "hanging":
            hanging.set()

    errors: SimpleQueue[BaseException] = SimpleQueue()
    running = host(45, "hang", log=watch).start()

    def build() -> None:
        try:
            running.chain.build_block()
        except HostError as error:
            errors.put(error)

    thread = threading.Thread(target=build)
    thread.start()
    assert hanging.wait(DEADLINE_S)
    running.process.kill()
    error = errors.get(timeout=DEADLINE_S)
    assert isinstance(error, PluginGone)
    assert str(error) == "the plugin process died during BuildBlock (SIGKILL): see its log"
    thread.join(DEADLINE_S)
    with pytest.raises(PluginGone, match="SIGKILL"):
        running.chain.build_block()
    with pytest.raises(PluginGone):
        running.chain.health()
    assert running.chain.next_event() is None
    assert running.stop() == -signal.SIGKILL


def test_a_vm_that_hangs_is_stopped_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_module, "SHUTDOWN_TIMEOUT_S", 0.2)
    hanging = threading.Event()
    running = host(
        45,
        "hang",
        config=b"1",
        log=lambda _, line: hanging.set() if line == "hanging" else None,
        stop_timeout_s=0.2,
        call_timeout_s=None,
    ).start()
    with mining(running):
        assert hanging.wait(DEADLINE_S)
        assert running.stop() == -signal.SIGKILL


def test_a_failed_start_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    failing = host(script="crashes.py", database=path, handshake_timeout_s=0.5)
    with pytest.raises(HandshakeFailed):
        failing.start()
    SQLiteDatabase(path).close()


def test_a_process_that_is_killed_while_it_starts_has_not_failed_to_shut_down(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    running = host()
    connect = running.connect

    def connect_and_kill() -> None:
        connect()
        running.process.kill()

    monkeypatch.setattr(running, "connect", connect_and_kill)
    with pytest.raises(HostError):
        running.start()
    assert "shut down" not in caplog.text


def test_a_database_in_use_is_named(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    database = SQLiteDatabase(path)
    with pytest.raises(DatabaseInUse, match=str(path)):
        host(database=path).start()
    database.close()


def test_a_chain_data_directory_is_made_and_kept_if_it_was_given(tmp_path: Path) -> None:
    directory = tmp_path / "chain" / "data"
    with host(chain_data_dir=directory) as running:
        assert running.config.chain_data_dir == directory
        assert directory.stat().st_mode & 0o777 == 0o700
    assert directory.is_dir()


def test_without_one_it_is_temporary() -> None:
    with host() as running:
        directory = running.config.chain_data_dir
        assert directory is not None
        assert directory.is_dir()
    assert not directory.exists()


def test_before_the_start_there_is_no_chain() -> None:
    waiting = host()
    for part in ("chain", "services", "client"):
        with pytest.raises(ChainMisused, match="not started yet"):
            getattr(waiting, part)
    assert waiting.stop() is None
