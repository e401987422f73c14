"""Saved states of a chain: how long their files are kept."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.filelimit import largest_file
from vmsdk.host.errors import ChainMisused, HostError
from vmsdk.host.snapshots import Snapshots
from vmsdk.host.sqlite import SQLiteDatabase


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What a snapshot needs of a host."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    files = tmp_path / "files"
    files.mkdir()
    (files / "index").write_bytes(b"1")
    with SQLiteDatabase(tmp_path / "node.db") as disk:
        yield SimpleNamespace(
            chain=SimpleNamespace(engine=SimpleNamespace(lock=threading.Lock())),
            services=SimpleNamespace(disk=disk),
            config=SimpleNamespace(chain_data_dir=files),
        )


def folders(tmp_path: Path) -> int:
    return len(list((tmp_path / "temporary").iterdir()))


def test_the_files_of_a_snapshot_go_with_it(host: Any, tmp_path: Path) -> None:
    snapshots = Snapshots()
    first, second, _ = (snapshots.save(host, None) for _ in range(3))
    assert folders(tmp_path) == 3
    snapshots.restore(second, tmp_path / "back.db", tmp_path / "back", None)
    assert (tmp_path / "back" / "index").read_bytes() == b"1"
    assert folders(tmp_path) == 1  # the later one can't be reverted to any more
    snapshots.check(first)
    snapshots.close()
    assert folders(tmp_path) == 0


def test_a_snapshot_that_fails_leaves_no_files(host: Any, tmp_path: Path) -> None:
    snapshots = Snapshots()
    host.config.chain_data_dir = tmp_path / "missing"
    with pytest.raises(HostError, match=r"^can't save a snapshot: .*No such file or directory"):
        snapshots.save(host, None)
    assert folders(tmp_path) == 0
    with pytest.raises(ChainMisused, match="there is no snapshot 0x1"):
        snapshots.check(1)
    snapshots.close()


def test_a_snapshot_that_has_no_room_reports_it_and_leaves_no_files(host: Any, tmp_path: Path) -> None:
    snapshots = Snapshots()
    with largest_file(0), pytest.raises(HostError, match=r"^can't save a snapshot: .*File too large"):
        snapshots.save(host, None)
    assert folders(tmp_path) == 0
    snapshots.close()


def test_a_snapshot_leaves_out_pipes_sockets_and_files_that_are_removed_meanwhile(
    host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = host.config.chain_data_dir
    os.mkfifo(files / "pipe")
    with socket.socket(socket.AF_UNIX) as listener, monkeypatch.context() as inside:
        inside.chdir(files)  # a socket's name is short
        listener.bind("socket")
    (files / "journal").touch()
    copy = shutil.copy2

    def remove_first(source: str, *arguments: Any, **options: Any) -> Any:
        if source.endswith("journal"):
            (files / "journal").unlink()
        return copy(source, *arguments, **options)

    monkeypatch.setattr(shutil, "copy2", remove_first)
    snapshots = Snapshots()
    number = snapshots.save(host, None)
    snapshots.restore(number, tmp_path / "back.db", tmp_path / "back", None)
    assert [file.name for file in (tmp_path / "back").iterdir()] == ["index"]
    snapshots.close()


@pytest.mark.parametrize("fails", [False, True])
def test_a_snapshot_leaves_out_directories_that_are_removed_meanwhile_and_nothing_else(
    host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    files = host.config.chain_data_dir
    for name in ("a", "b", "c"):
        (files / name / "deep").mkdir(parents=True)
        (files / name / "file").touch()
    copy = shutil.copy2

    def remove_others(source: str, *arguments: Any, **options: Any) -> Any:
        # Whichever comes first, the other two are copied after it.
        kept.append(Path(source).parent)
        for other in {files / "a", files / "b", files / "c"} - set(kept[:1]):
            shutil.rmtree(other, ignore_errors=True)
        if fails:
            raise PermissionError(errno.EACCES, "Permission denied")
        return copy(source, *arguments, **options)

    kept: list[Path] = []
    (files / "index").unlink()
    monkeypatch.setattr(shutil, "copy2", remove_others)
    snapshots = Snapshots()
    if fails:
        with pytest.raises(HostError, match=r"^can't save a snapshot: .*Permission denied"):
            snapshots.save(host, None)
        assert folders(tmp_path) == 0
        return
    number = snapshots.save(host, None)
    monkeypatch.undo()
    snapshots.restore(number, tmp_path / "back.db", tmp_path / "back", None)
    assert [each.name for each in (tmp_path / "back").iterdir()] == [kept[0].name]
    assert sorted(each.name for each in (tmp_path / "back" / kept[0].name).iterdir()) == ["deep", "file"]
    snapshots.close()


@pytest.mark.parametrize(
    ("largest_bytes", "reason"),
    [(0, "File too large"), (500_000, "can't write the database .*disk I/O error")],
)
def test_a_snapshot_that_cannot_be_restored_is_kept_and_the_state_as_it_was(
    host: Any, tmp_path: Path, largest_bytes: int, reason: str
) -> None:
    pairs = host.services.disk.space(b"")
    pairs.put(b"big", bytes(1_000_000))
    snapshots = Snapshots()
    first, later = (snapshots.save(host, None) for _ in range(2))
    files = host.config.chain_data_dir
    (files / "index").write_bytes(b"2")
    pairs.put(b"big", b"small")
    host.services.disk._connection.execute("VACUUM")
    host.services.disk.close()
    said = rf"can't revert to snapshot 0x1: .*{reason}; the chain continues unchanged, and the snapshot is"
    with largest_file(largest_bytes), pytest.raises(HostError, match=said):
        snapshots.restore(first, tmp_path / "node.db", files, None)
    assert [file.name for file in files.iterdir()] == ["index"]
    assert (files / "index").read_bytes() == b"2"
    assert not (tmp_path / "files.new").exists()
    with SQLiteDatabase(tmp_path / "node.db") as disk:
        assert disk.space(b"").items() == [(b"big", b"small")]
    snapshots.check(later)
    snapshots.restore(first, tmp_path / "node.db", files, None)
    assert (files / "index").read_bytes() == b"1"
    with SQLiteDatabase(tmp_path / "node.db") as disk:
        assert disk.space(b"").items() == [(b"big", bytes(1_000_000))]
    assert folders(tmp_path) == 0
