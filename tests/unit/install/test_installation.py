"""What an installation refuses before it starts the VM."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from vmsdk.install.installation import install
from vmsdk.install.launcher import InstallError
from vmsdk.target import TargetError


@pytest.mark.parametrize(
    ("tool", "environment"),
    [
        ("uv", "uv/builds-v0/.tmpXkYXqN"),
        ("uv", "uv/archive-v0/4yzdcLQT5FLr4GIn"),
        ("pipx", ".cache/pipx/0cb2fb2f4b6b4f1"),
        ("pipx", "pipx/.cache/0cb2fb2f4b6b4f1"),
    ],
)
def test_an_interpreter_in_a_cache_is_refused(
    tool: str, environment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uv").mkdir()
    (tmp_path / "uv" / "CACHEDIR.TAG").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / environment))
    with pytest.raises(InstallError, match=f"is in {tool}'s cache, .* or {tool} .*install vmsdk"):
        install("vm.py", plugin_dir=tmp_path)


def test_a_relative_path_from_a_deleted_folder_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deleted").mkdir()
    (tmp_path / "plugins").mkdir()
    monkeypatch.chdir(tmp_path / "deleted")
    os.rmdir(tmp_path / "deleted")
    with pytest.raises(InstallError, match=r"^\.\./plugins can't be reached: No such file or directory"):
        install("vm.py", plugin_dir=Path("../plugins"))
    with pytest.raises(TargetError, match="there is no file"):
        install("vm.py", plugin_dir=tmp_path / "plugins")
