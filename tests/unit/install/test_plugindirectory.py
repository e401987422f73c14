"""A node's plugin directory."""

from __future__ import annotations

import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from vmsdk.cli import main
from vmsdk.ids import vm_id
from vmsdk.install.launcher import InstallError, Launcher
from vmsdk.install.plugindirectory import PluginDirectory
from vmsdk.target import SourceTarget

VM = vm_id("test")


def source(file: str, attribute: str | None = None) -> SourceTarget:
    return SourceTarget(file, Path(file).stem, Path(file), attribute, Path(file).parent)


def launcher(number: int) -> bytes:
    return Launcher("test", source(f"/some/where/{'x' * number}.py"), "/usr/bin/python3").to_bytes()


def put(directory: PluginDirectory, data: bytes) -> Path:
    with directory.staged(data) as staged:
        return directory.replace(VM, staged)


def test_whoever_looks_meanwhile_sees_one_whole_file_and_nothing_else(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    directory = PluginDirectory(plugins)
    put(directory, launcher(0))
    versions = {launcher(number) for number in range(2)}
    done = threading.Event()
    faults: list[object] = []
    looks = 0

    def look() -> None:
        nonlocal looks
        while not done.is_set():
            looks += 1
            # A file system may list it twice, if it is replaced meanwhile.
            names = {entry.name for entry in os.scandir(plugins)}
            if names != {str(VM)}:
                faults.append(names)
                return
            data = (plugins / str(VM)).read_bytes()
            if data not in versions or not os.access(plugins / str(VM), os.X_OK):
                faults.append(data)
                return

    looker = threading.Thread(target=look)
    looker.start()
    # On one processor, the looker may have little of it.
    for number in count():
        put(directory, launcher(number % 2))
        if not looker.is_alive() or (number > 300 and looks > 100):
            break
    done.set()
    looker.join()
    assert faults == []


def test_nothing_is_left_of_an_installation_that_ends_halfway(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()

    class Interrupted(Exception):
        pass

    def interrupted() -> None:
        with PluginDirectory(plugins).staged(b"data") as staged:
            assert staged.read_bytes() == b"data"
            assert stat.S_IMODE(staged.stat().st_mode) == 0o755
            raise Interrupted

    with pytest.raises(Interrupted):
        interrupted()
    assert [each.name for each in tmp_path.iterdir()] == ["plugins"]
    assert list(plugins.iterdir()) == []


NOBODY = 65534


@contextmanager
def no_superuser() -> Iterator[None]:
    """Give up the right to write everywhere, if this process has it."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def test_where_only_the_plugin_directory_may_be_written_to_no_file_but_the_plugin_shows_up() -> None:
    # Not below pytest's own folder, which nobody else may enter.
    with tempfile.TemporaryDirectory() as base:
        plugins = Path(base) / "plugins"
        plugins.mkdir()
        plugins.chmod(0o777)
        Path(base).chmod(0o555)
        try:
            with no_superuser():
                directory = PluginDirectory(plugins)
                with directory.staged(launcher(0)) as staged:
                    assert plugins in staged.parents
                    assert directory.entries() == []
                    directory.replace(VM, staged)
        finally:
            Path(base).chmod(0o755)
        assert [each.name for each in plugins.iterdir()] == [str(VM)]


def test_a_directory_that_can_not_be_written_to_is_an_error() -> None:
    with (
        pytest.raises(InstallError, match="/proc/self can't be changed"),
        PluginDirectory(Path("/proc/self")).staged(b""),
    ):
        pass


def test_a_huge_file_and_one_that_can_not_be_read_are_not_ours(tmp_path: Path) -> None:
    with (tmp_path / str(VM)).open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "dangling").symlink_to("/no/where")
    os.mkfifo(tmp_path / "pipe")
    entries = PluginDirectory(tmp_path).entries()
    assert [(entry.path.name, entry.launcher) for entry in entries] == [
        ("dangling", None),
        ("pipe", None),
        (str(VM), None),
    ]


def test_a_directory_that_can_not_be_listed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied", str(path))  # as for a user who is not root

    monkeypatch.setattr(Path, "iterdir", refuse)
    for arguments in (["--list"], ["--uninstall", "--name", "test"]):
        assert main(["install", *arguments, "--plugin-dir", str(tmp_path)]) == 1
        assert capsys.readouterr().err == f"vmsdk install: {tmp_path} can't be listed: Permission denied\n"


def test_a_launcher_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    directory = PluginDirectory(tmp_path)
    written = Launcher("test", source("/a/b.py", "C"), "/usr/bin/python3", protocol=43, ask_parent=False)
    put(directory, written.to_bytes())
    (entry,) = directory.entries()
    assert entry.vm_id == VM
    assert entry.launcher is not None
    assert entry.launcher.name == "test"
    assert entry.launcher.target == "/a/b.py:C"
    assert entry.launcher.protocol == 43
    assert not entry.launcher.ask_parent


def test_the_files_are_those_that_a_node_looks_at(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in (".hidden", ".vmsdk.part", f"{VM}.old"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    entries = PluginDirectory(tmp_path).entries()
    assert [(each.path.name, each.vm_id) for each in entries] == [
        (".vmsdk.part", None),
        ("link", None),
        (f"{VM}.old", VM),
    ]
