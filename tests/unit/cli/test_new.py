"""`vmsdk new`: what it writes, and the names that it refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vmsdk import cli
from vmsdk.target import SourceTarget, find

KINDS: list[list[str]] = [[], ["--low-level"]]


@pytest.mark.parametrize("options", KINDS, ids=["chain", "low-level"])
def test_a_project_is_a_vm_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new", "my-chain", *options]) == 0
    assert "vmsdk dev my_chain.py" in capsys.readouterr().out
    target = find("my-chain/my_chain.py")
    assert isinstance(target, SourceTarget)
    vm = target.load()
    assert (vm.__name__, vm.name, vm.version) == ("MyChain", "my-chain", "0.1.0")
    written = [path for path in Path("my-chain").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert not [path for path in written if "my_vm" in path.name or path.suffix == ".tmpl"]
    assert not [path for path in written if "$$" in path.read_text() or "$module" in path.read_text()]
    for path in ("pyproject.toml", "README.md", ".gitignore", ".github/workflows/ci.yml"):
        assert Path("my-chain", path) in written


@pytest.mark.parametrize(("name", "options"), [("note", []), ("block", ["--low-level"])])
def test_the_class_has_a_name_of_its_own(tmp_path: Path, name: str, options: list[str]) -> None:
    assert cli.main(["new", name, "--directory", str(tmp_path), *options]) == 0
    target = find(str(tmp_path / f"{name}.py"))
    assert isinstance(target, SourceTarget)
    assert target.load().__name__ == f"{name.capitalize()}Chain"


@pytest.mark.parametrize("options", KINDS, ids=["chain", "low-level"])
@pytest.mark.parametrize("name", ["x", "a-chain-of-names-that-fills-a-vm"])
def test_ruff_accepts_a_project(tmp_path: Path, options: list[str], name: str) -> None:
    pytest.importorskip("ruff")
    assert cli.main(["new", name, "--directory", str(tmp_path / "project"), *options]) == 0
    for command in (["check"], ["format", "--check", "--diff"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, "."], cwd=tmp_path / "project", check=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("My-Chain", "use lower-case letters and digits"),
        ("1st", "use lower-case letters and digits"),
        ("a--b", "use lower-case letters and digits"),
        ("../elsewhere", "use lower-case letters and digits"),
        ("", "use lower-case letters and digits"),
        ("queue", "there is already a module called queue"),
        ("class", "it is a Python keyword, so it can't be imported"),
        ("vmsdk", "there is already a module called vmsdk"),
        ("grpc", "there is already a module called grpc"),
        ("typing-extensions", "there is already a module called typing_extensions"),
        ("evm", "it is one of the node's own VMs"),
        ("a" * 33, "a name is 1 to 32 ASCII characters"),
    ],
)
def test_a_name_that_can_not_work_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new", name]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("kept")
    assert cli.main(["new", "my-chain", "--directory", str(tmp_path)]) == 1
    assert "is not empty: choose another --directory" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("plant", [Path.touch, lambda path: path.symlink_to("nowhere")], ids=["file", "link"])
def test_what_is_not_a_folder_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], plant: Callable[[Path], None]
) -> None:
    plant(tmp_path / "taken")
    assert cli.main(["new", "my-chain", "--directory", str(tmp_path / "taken")]) == 1
    assert "taken is not a folder: choose another --directory" in capsys.readouterr().err


def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert cli.main(["new", "my-chain", "--directory", str(tmp_path / "file" / "project")]) == 1
    assert "can't be written: Not a directory" in capsys.readouterr().err
