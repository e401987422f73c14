"""Whether the user who runs the node can read what a launcher needs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmsdk.install.launcher import InstallError
from vmsdk.install.reader import Reader, barriers

NOBODY = 65534


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder that everyone may enter, which pytest's own are not, and what is made in it."""
    mask = os.umask(0o022)
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)
    os.umask(mask)


@pytest.fixture
def plugins(base: Path) -> Path:
    """The plugin directory of a user that is not the superuser."""
    directory = base / "plugins"
    directory.mkdir()
    if os.geteuid() == 0:
        os.chown(directory, NOBODY, NOBODY)
    return directory


def test_a_file_in_folders_that_all_may_enter_can_be_reached(base: Path, plugins: Path) -> None:
    (base / "source").mkdir(mode=0o755)
    (base / "source" / "vm.py").touch(0o644)
    assert barriers([base / "source" / "vm.py"], Reader.owner_of(plugins)) == []


def test_the_first_folder_that_the_user_may_not_enter_is_the_barrier(base: Path, plugins: Path) -> None:
    folder = base / "home"
    folder.mkdir()
    (folder / "venv").mkdir()
    # Its owner may enter, who is another user than the node's; or, if it is the same, not even
    # that.
    folder.chmod(0o700 if os.geteuid() == 0 else 0o600)
    try:
        assert barriers([folder / "venv" / "python"], Reader.owner_of(plugins)) == [folder]
    finally:
        folder.chmod(0o700)


def test_a_link_leads_to_another_barrier(base: Path, plugins: Path) -> None:
    hidden = base / "hidden"
    hidden.mkdir(mode=0o755)
    (hidden / "python").touch()
    (base / "python").symlink_to(hidden / "python")
    link = base / "python"
    (hidden / "python").chmod(0o644)
    assert barriers([link], Reader.owner_of(plugins)) == []
    hidden.chmod(0o000)
    try:
        assert barriers([link, link], Reader.owner_of(plugins)) == [hidden]
    finally:
        hidden.chmod(0o755)


def test_the_superuser_enters_everywhere(base: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only the superuser owns a directory of the superuser's")
    (base / "hidden").mkdir(mode=0o000)
    assert barriers([base / "hidden" / "vm.py"], Reader.owner_of(base)) == []


def test_a_file_that_the_user_may_not_read_is_named(base: Path, plugins: Path) -> None:
    (base / "vm.py").touch()
    (base / "vm.py").chmod(0o600 if os.geteuid() == 0 else 0o200)
    assert barriers([base / "vm.py"], Reader.owner_of(plugins)) == [base / "vm.py"]


def test_a_group_of_the_users_opens_a_file(base: Path) -> None:
    (base / "vm.py").touch()
    (base / "vm.py").chmod(0o640)
    group = (base / "vm.py").stat().st_gid
    assert barriers([base / "vm.py"], Reader(NOBODY, frozenset({group}))) == []
    assert barriers([base / "vm.py"], Reader(NOBODY, frozenset())) == [base / "vm.py"]


def test_a_user_that_does_not_exist_is_named() -> None:
    with pytest.raises(InstallError, match="there is no user nosuchuser"):
        Reader.called("nosuchuser")
