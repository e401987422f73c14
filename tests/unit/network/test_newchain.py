"""What a chain is made from: names, targets and limits."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from vmsdk.network import LocalNetwork, NewChain
from vmsdk.network.errors import InvalidArgument
from vmsdk.network.plugin import absolute, default_name, is_executable


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("examples/vm.py:TimestampVM", "timestampvm"),
        ("package.module:CounterVM", "countervm"),
        ("package.module", "module"),
        ("/opt/vms/my vm.py", "my-vm"),
        ("./plugin", "plugin"),
        ("vm.py:Outer.Inner", "inner"),
    ],
)
def test_a_name_comes_from_the_class_or_else_the_file(target: str, name: str) -> None:
    assert default_name(target) == name


def test_the_chain_is_called_like_the_vm_unless_it_is_named() -> None:
    assert (NewChain("m:TimestampVM").name, NewChain("m:TimestampVM").vm_name) == (
        "timestampvm",
        "timestampvm",
    )
    assert (NewChain("m:VM", "mine").name, NewChain("m:VM", "mine").vm_name) == ("mine", "vm")
    assert NewChain("m:VM", vm_name="other").name == "other"


@pytest.mark.parametrize("name", ["-a", "a b", "a/b", "..", "é", "a" * 65])
def test_a_name_that_cannot_be_in_a_url_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="letters, digits"):
        NewChain("m:VM", name)


@pytest.mark.parametrize("name", ["P", "c", "X", "platform"])
def test_the_name_of_a_chain_of_every_node_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="a chain of every node"):
        NewChain("m:VM", name)


def test_a_genesis_longer_than_nodes_take_is_refused_before_anything_starts() -> None:
    NewChain("m:VM", genesis=bytes(255 * 1024))
    with pytest.raises(InvalidArgument, match=r"261121 bytes .* at most 261120"):
        NewChain("m:VM", genesis=bytes(255 * 1024 + 1))


def test_a_genesis_is_known_again_by_its_hash() -> None:
    assert NewChain("m:VM", genesis=b"g").genesis_hash == hashlib.sha256(b"g").hexdigest()


def test_a_file_means_the_same_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vm.py").touch()
    monkeypatch.chdir(tmp_path)
    assert absolute("vm.py:VM") == f"{tmp_path}/vm.py:VM"
    assert NewChain("vm.py:VM").target == f"{tmp_path}/vm.py:VM"
    assert absolute("package.module:VM") == "package.module:VM"


def test_an_executable_is_a_plugin_already_and_a_python_file_is_not(tmp_path: Path) -> None:
    for name, mode, plugin in [("plugin", 0o755, True), ("data", 0o644, False), ("vm.py", 0o755, False)]:
        path = tmp_path / name
        path.touch()
        path.chmod(mode)
        assert is_executable(str(path)) is plugin
    assert not is_executable(str(tmp_path))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"nodes": 0}, "one is the least"),
        ({"http_port": 0}, "between 1 and 65535"),
        ({"http_port": 65535}, "between 1 and 65535"),
        ({"http_port": 65530, "nodes": 4}, "4 nodes cannot have ports"),
    ],
)
def test_impossible_numbers_are_refused_before_anything_starts(options: dict[str, int], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        LocalNetwork(**options)  # type: ignore[arg-type]


def test_two_chains_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"two chains .* 'vm'"):
        LocalNetwork("a:VM", "b:VM")
