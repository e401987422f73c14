"""The shell script of a bundle, with an archive of two files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vmsdk.ids import vm_id
from vmsdk.install.bundlescript import PYTHON_VARIABLE, UNPACK_DIR_VARIABLE, with_archive
from vmsdk.install.interpreter import EXECUTABLE
from vmsdk.install.launcher import Launcher
from vmsdk.target import SourceTarget, find

from .plugin import PATIENCE_S

Start = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder that the bundle unpacks itself into."""
    return tmp_path / "unpacked"


@pytest.fixture
def start(tmp_path: Path, place: Path) -> Start:
    """Start a bundle whose VM prints a line."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "start").write_text("import other\n", encoding="utf-8")
    (tree / "start").chmod(0o755)
    (tree / "other.py").write_text("print('started')\n", encoding="utf-8")
    (tree / "empty.py").touch()
    (tmp_path / "vm.py").write_text("import vmsdk\n", encoding="utf-8")
    target = find(str(tmp_path / "vm.py"))
    assert isinstance(target, SourceTarget)
    launcher = Launcher(name="vm", target=target, python="")
    bundle = tmp_path / "bundle"
    place.mkdir()
    for python, path in ((False, bundle), (True, tmp_path / "with-python")):
        if python:
            executable = tree / EXECUTABLE
            executable.parent.mkdir(parents=True)
            executable.write_text(f'#!/bin/sh\nunset LD_LIBRARY_PATH\nexec {sys.executable} "$@"\n')
            executable.chmod(0o755)
        path.write_bytes(with_archive(launcher, vm_id("vm"), tree, python=python, unpack_dir=None))
        path.chmod(0o755)

    def start(bundle: Path = bundle, path: str | None = None) -> subprocess.CompletedProcess[str]:
        variables = {UNPACK_DIR_VARIABLE: str(place), PYTHON_VARIABLE: sys.executable}
        return subprocess.run(
            [bundle],
            env=variables if path is None else variables | {"PATH": path},
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE_S,
            check=False,
        )

    return start


@pytest.mark.parametrize("lost", ["start", "other.py", "all", "contents"])
def test_a_copy_that_lost_files_is_unpacked_again(start: Start, place: Path, lost: str) -> None:
    first = start()
    (copy,) = (place / "vmsdk-bundles").iterdir()
    shutil.rmtree(copy / "__pycache__", ignore_errors=True)
    if lost == "contents":  # as after a power cut
        (copy / "other.py").write_bytes(b"")
    for name in {"all": ("start", "other.py"), "contents": ()}.get(lost, (lost,)):
        (copy / name).unlink()
    with ThreadPoolExecutor(3) as pool:  # as a node does with three chains of this VM
        starts = list(pool.map(lambda _: start(), range(3)))
    assert [(each.stdout, each.stderr) for each in (first, *starts)] == [("started\n", "")] * 4
    assert [*(place / "vmsdk-bundles").iterdir()] == [copy]


def test_a_copy_that_is_whole_is_used_as_it_is(start: Start, place: Path) -> None:
    start()
    (copy,) = (place / "vmsdk-bundles").iterdir()
    (copy / "written by the VM").touch()
    assert start().stdout == "started\n"
    assert (copy / "written by the VM").exists()


def test_bundles_with_and_without_python_leave_each_others_copy(
    start: Start, place: Path, tmp_path: Path
) -> None:
    starts = (start(), start(tmp_path / "with-python"))
    assert [(each.stdout, each.stderr) for each in starts] == [("started\n", "")] * 2
    assert len([*(place / "vmsdk-bundles").iterdir()]) == 2


def test_unpacking_goes_on_when_the_node_gives_up(start: Start, place: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    tar = tmp_path / "tools" / "tar"
    tar.parent.mkdir()
    tar.write_text(f'#!/bin/sh\nread -r line < {gate}\nexec {shutil.which("tar")} "$@"\n')
    tar.chmod(0o755)
    path = os.environ.get("PATH", os.defpath)
    variables = {UNPACK_DIR_VARIABLE: str(place), "PATH": f"{tar.parent}:{path}"}
    alive, held = os.pipe()
    with subprocess.Popen([tmp_path / "bundle"], env=variables, pass_fds=[held]) as process:
        os.close(held)
        with gate.open("w") as opened:  # as soon as tar waits there
            process.terminate()
            process.wait(PATIENCE_S)
            opened.write("\n")
    with open(alive, "rb") as file:
        assert file.read() == b""  # at the end of the last process
    (copy,) = (place / "vmsdk-bundles").iterdir()
    assert sorted(each.name for each in copy.iterdir()) == ["empty.py", "other.py", "start"]
    assert start().stdout == "started\n"


@pytest.mark.parametrize("when", ["before it is opened", "before it is locked"])
def test_a_new_copy_that_another_start_removes_is_made_again(
    start: Start, place: Path, tmp_path: Path, when: str
) -> None:
    """Each start removes what it finds unlocked, and so may take a copy that has just been made."""
    name = "mkdir" if when == "before it is opened" else "flock"
    tool, once = tmp_path / "tools" / name, tmp_path / "once"
    tool.parent.mkdir()
    tool.write_text(
        f'#!/bin/sh\n[ {name} = flock ] || {shutil.which("mkdir")} "$@"\n'
        f"for new in {place}/vmsdk-bundles/.new-*; do\n"
        f'  [ ! -d "$new" ] || [ -e {once} ] || {{ rm -rf "$new" && touch {once}; }}\n'
        "done\n"
    )
    tool.chmod(0o755)
    path = os.environ.get("PATH", os.defpath)
    started = start(path=f"{tool.parent}:{path}")
    assert (started.stdout, started.stderr) == ("started\n", "")
    assert once.exists()


def test_a_full_disk_does_not_fill_the_log(start: Start, place: Path, tmp_path: Path) -> None:
    tar = tmp_path / "tools" / "tar"
    tar.parent.mkdir()
    tar.write_text(
        "#!/bin/sh\nfor file in 1 2 3 4 5 6 7 8 9; do echo $file: No space left; done >&2\nexit 2\n"
    )
    tar.chmod(0o755)
    path = os.environ.get("PATH", os.defpath)
    variables = {UNPACK_DIR_VARIABLE: str(place), "PATH": f"{tar.parent}:{path}"}
    done = subprocess.run(
        [tmp_path / "bundle"], env=variables, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("1: No space left") == 1
    assert "3: No space left" not in done.stderr
    assert f"can't be unpacked into {place}" in done.stderr


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount a folder")
def test_a_folder_that_is_mounted_with_noexec_is_named(start: Start, place: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", "noexec", "none", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a container can't mount")
    try:
        done = start()
    finally:
        subprocess.run(["umount", place], check=True)
    assert done.returncode == 1
    assert f"{place}/vmsdk-bundles is mounted with noexec" in done.stderr
