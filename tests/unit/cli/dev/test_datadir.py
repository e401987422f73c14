"""Where `vmsdk dev` keeps chains."""

from __future__ import annotations

import errno
import fcntl
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.filelimit import largest_file
from vmsdk.cli.dev.datadir import DataDirectory, file_name
from vmsdk.errors import VMError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def begin(name: str = "coin", genesis: bytes | None = None, path: Path | None = None) -> bytes:
    with closing(DataDirectory(path, name)) as data:
        opened = data.open(genesis)
        data.keep(opened)
        return opened


def test_a_chain_begins_with_an_empty_genesis_unless_one_is_given() -> None:
    assert begin("coin") == b""
    assert begin("art", b"g") == b"g"


def test_a_kept_chain_keeps_its_genesis() -> None:
    begin(genesis=b"g")
    assert begin() == b"g"
    assert begin(genesis=b"g") == b"g"
    with pytest.raises(VMError, match="a different genesis"):
        begin(genesis=b"h")
    assert begin() == b"g"


def test_a_chain_that_never_began_is_not_kept() -> None:
    with closing(DataDirectory(None, "coin")) as data:
        assert data.open(b"g") == b"g"
        data.database.touch()
        (data.files / "own").touch()
    with closing(DataDirectory(None, "coin")) as data:
        assert data.open(b"h") == b"h"
        assert not data.database.exists()
        assert list(data.files.iterdir()) == []


def test_a_folder_holds_the_chain_of_one_vm() -> None:
    begin("coin", path=Path("data"))
    with pytest.raises(VMError, match="of the VM coin, not art"):
        begin("art", path=Path("data"))


def test_a_folder_is_used_by_one_at_a_time() -> None:
    with closing(DataDirectory(None, "coin")), pytest.raises(VMError, match=r"\.vmsdk/coin"):
        DataDirectory(None, "coin")
    DataDirectory(None, "coin").close()


def test_reset_removes_the_chain_and_leaves_the_rest() -> None:
    with closing(DataDirectory(Path("data"), "coin")) as data:
        data.keep(data.open(b"g"))
        for suffix in ("", "-wal", "-shm"):
            Path(f"{data.database}{suffix}").touch()
        (data.files / "own").touch()
        (data.path / "mine").touch()
        data.reset()
        assert sorted(path.name for path in data.path.iterdir()) == ["lock", "mine"]
        assert data.open(b"h") == b"h"
        data.reset()
        data.reset()


def test_a_damaged_record_is_reported() -> None:
    begin()
    Path(".vmsdk/coin/chain.json").write_text("{")
    with pytest.raises(VMError, match=r"chain\.json is damaged .*--reset"):
        begin()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("coin", "coin"), ("My VM/2", "My-VM-2"), ("..", "vm"), (".hidden", "hidden"), ("a_b-c.d", "a_b-c.d")],
)
def test_a_vms_name_becomes_one_part_of_a_path(name: str, expected: str) -> None:
    assert file_name(name) == expected


def test_a_chain_that_cannot_be_stored_is_reported_with_the_reason() -> None:
    with closing(DataDirectory(Path("data"), "coin")) as data:
        genesis = data.open(b"g")
        with largest_file(0), pytest.raises(VMError, match=r"can't store the chain in data: File too large"):
            data.keep(genesis)
        data.keep(genesis)
        Path("data/genesis").unlink()
        Path("data/genesis").mkdir()
        with pytest.raises(VMError, match=r"can't store the chain in data: Is a directory"):
            data.reset()


def test_a_folder_that_cannot_be_locked_is_not_said_to_be_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(VMError, match=r"in data: it can't be locked: No locks available; choose another"):
        DataDirectory(Path("data"), "coin")
