"""Finding a node's binary and its protocol."""

from __future__ import annotations

import resource
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from vmsdk.network.binary import FILE_LIMIT, NodeBinary, file_limit
from vmsdk.network.errors import NetworkError

MakeNode = Callable[[str], Path]
METALGO = "metalgo/1.13.5 [database=v1.4.5, rpcchainvm=43, commit=abc, go=1.23.9]"


@pytest.fixture
def make_node(tmp_path: Path) -> MakeNode:
    """Makes an executable that prints this text for --version."""

    def make(version: str) -> Path:
        path = tmp_path / "node"
        path.write_text(f"#!/bin/sh\ntest \"$*\" = --version && echo '{version}'\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


@pytest.fixture(autouse=True)
def _no_node_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VMSDK_NODE", raising=False)


def test_a_node_prints_its_version_and_protocol(make_node: MakeNode) -> None:
    path = make_node(METALGO)
    assert NodeBinary.find(path) == NodeBinary(path, "metalgo/1.13.5", 43)


def test_a_script_around_a_node_finds_its_environment(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_SAYS", METALGO)
    assert NodeBinary.find(make_node("'\"$NODE_SAYS\"'")).version == "metalgo/1.13.5"


def test_the_environment_names_the_node(make_node: MakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_node(METALGO)
    monkeypatch.setenv("VMSDK_NODE", str(path))
    assert NodeBinary.find().path == path


def test_a_node_on_the_path_is_found_by_its_name(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = make_node(METALGO).rename(tmp_path / "metalgo")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert NodeBinary.find().path == path
    assert NodeBinary.find("metalgo").path == path


def test_without_a_node_the_error_shows_how_to_name_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NetworkError, match=r"--node PATH or set VMSDK_NODE"):
        NodeBinary.find()


def test_a_path_with_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=f"{tmp_path}/avalanchego is not a node: there is no such file"):
        NodeBinary.find(tmp_path / "avalanchego")


def test_a_directory_is_not_a_node(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="a directory"):
        NodeBinary.find(tmp_path)


def test_a_file_without_execute_permission_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "avalanchego"
    path.write_text("")
    with pytest.raises(NetworkError, match=f"chmod \\+x {path}"):
        NodeBinary.find(path)


def test_a_file_that_the_system_cannot_run_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "avalanchego"
    path.write_bytes(b"\x7fELF and no more")
    path.chmod(0o755)
    with pytest.raises(NetworkError, match="can't be run"):
        NodeBinary.find(path)


def test_another_program_is_not_taken_for_a_node(make_node: MakeNode) -> None:
    with pytest.raises(NetworkError, match="did not respond to --version"):
        NodeBinary.find(make_node("hello 1.0"))


@pytest.mark.parametrize(("protocol", "cure"), [(34, "a newer node"), (99, "upgrade vmsdk")])
def test_a_protocol_that_we_do_not_speak_is_reported_with_the_range(
    make_node: MakeNode, protocol: int, cure: str
) -> None:
    path = make_node(f"avalanchego/9.9.9 [rpcchainvm={protocol}]")
    with pytest.raises(
        NetworkError, match=f"is avalanchego/9.9.9, which speaks protocol {protocol}; .*{cure}"
    ):
        NodeBinary.find(path)


class TestFileLimit:
    @pytest.fixture
    def limits(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
        """Fakes the system's limit; lowering the real hard limit could not be undone."""

        def set_hard(hard: int) -> None:
            monkeypatch.setattr(resource, "getrlimit", lambda _: (hard, hard))

        return set_hard

    def test_is_the_nodes_own_where_the_system_allows_it(self, limits: Callable[[int], None]) -> None:
        limits(resource.RLIM_INFINITY)
        assert file_limit() == FILE_LIMIT
        limits(FILE_LIMIT * 2)
        assert file_limit() == FILE_LIMIT

    def test_is_the_systems_where_that_is_lower(self, limits: Callable[[int], None]) -> None:
        limits(4096)
        assert file_limit() == 4096

    def test_too_low_for_a_node_is_reported_with_the_fix(self, limits: Callable[[int], None]) -> None:
        limits(256)
        with pytest.raises(NetworkError, match=r"only 256 files.*ulimit -Hn 512"):
            file_limit()
