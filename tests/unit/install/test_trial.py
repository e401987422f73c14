"""Whether the node's user can get at what a launcher needs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmsdk.install.trial import barrier, barriers

NOBODY = 65534


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder that everyone may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


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
    assert barrier(base / "source" / "vm.py", plugins) is None


def test_the_first_folder_that_the_user_may_not_enter_is_the_barrier(base: Path, plugins: Path) -> None:
    folder = base / "home"
    folder.mkdir()
    (folder / "venv").mkdir()
    # Its owner may enter, who is another user than the node's; or, if it is the same, not even
    # that.
    folder.chmod(0o700 if os.geteuid() == 0 else 0o600)
    try:
        assert barrier(folder / "venv" / "python", plugins) == folder
    finally:
        folder.chmod(0o700)


def test_a_link_leads_to_another_barrier(base: Path, plugins: Path) -> None:
    hidden = base / "hidden"
    hidden.mkdir(mode=0o755)
    (hidden / "python").touch()
    (base / "python").symlink_to(hidden / "python")
    link = os.fspath(base / "python")
    assert barriers([link], plugins) == []
    hidden.chmod(0o000)
    try:
        assert barriers([link, link], plugins) == [hidden]
    finally:
        hidden.chmod(0o755)


def test_the_superuser_enters_everywhere(base: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only the superuser owns a directory of the superuser's")
    (base / "hidden").mkdir(mode=0o000)
    assert barrier(base / "hidden" / "vm.py", base) is None
