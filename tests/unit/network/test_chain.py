"""What a chain is made from: names, targets, limits; and the plugin that runs it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from vmsdk.errors import InvalidInput
from vmsdk.install.launcher import InstallError
from vmsdk.network import LocalNetwork, NewChain
from vmsdk.network.chain import default_name, place
from vmsdk.network.errors import NetworkError
from vmsdk.target import TargetError, find

NAMED = """
from vmsdk import chain

class Notes(chain.Chain):
    name = "my notes"

    def execute(self, state, tx, block): ...
"""


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("./plugin", "plugin"),
        ("./tGas3T58KzdjcJ2iKSyiYsWiqYctRXaPTqBCA11BqEkNg8kPc", "timestampvm"),
    ],
)
def test_the_name_of_an_executable_comes_from_its_file(target: str, name: str, folder: Path) -> None:
    assert default_name(find(target)) == name


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a-plugin-with-a-rather-long-file-name-v1.2.3", "a-plugin-with-a-rather-long-file"),
        ("plügin", "pl-gin"),
        ("My Plugin", "my-plugin"),
    ],
)
def test_an_executable_may_be_called_what_no_vm_can_be(file: str, name: str, folder: Path) -> None:
    (folder / file).touch()
    (folder / file).chmod(0o755)
    new = NewChain(f"./{file}")
    assert (new.vm_name, new.name) == (name, name)


def test_a_name_is_read_again_when_the_source_has_changed(folder: Path) -> None:
    for name in ("first", "second"):
        (folder / "notes.py").write_text(NAMED.replace("my notes", name))
        assert NewChain("notes.py").vm_name == name


def test_a_vm_whose_name_has_no_letter_needs_a_name_for_its_chain() -> None:
    with pytest.raises(NetworkError, match=r"the VM's name '__' has no letter or digit .* --name"):
        NewChain("json.decoder:VM", vm_name="__")
    assert NewChain("json.decoder:VM", "mine", vm_name="__").name == "mine"


def test_the_name_of_a_vm_is_that_of_its_class_as_in_install_and_dev(folder: Path) -> None:
    (folder / "notes.py").write_text(NAMED)
    new = NewChain("notes.py")
    assert (new.vm_name, new.name) == ("my notes", "my-notes")


def test_a_vm_that_can_not_be_imported_has_no_name(folder: Path) -> None:
    (folder / "broken.py").write_text("import a_module_that_is_not_there")
    with pytest.raises(InstallError, match="No module named 'a_module_that_is_not_there'"):
        NewChain("broken.py")


def test_the_chain_is_called_like_the_vm_unless_it_is_named() -> None:
    assert NewChain("json.decoder:VM", vm_name="vm").name == "vm"
    assert NewChain("json.decoder:VM", "mine", vm_name="vm").name == "mine"


@pytest.mark.parametrize("name", ["-a", "a b", "a/b", "..", "é", "a" * 65])
def test_a_name_that_cannot_be_in_a_url_is_refused(name: str) -> None:
    with pytest.raises(NetworkError, match="letters, digits"):
        NewChain("json.decoder:VM", name, vm_name="vm")


@pytest.mark.parametrize("name", ["é", "a" * 33])
def test_a_name_that_no_vm_can_have_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        NewChain("json.decoder:VM", "chain", vm_name=name)


@pytest.mark.parametrize("name", ["P", "c", "X", "platform"])
def test_the_name_of_a_chain_of_every_node_is_refused(name: str) -> None:
    with pytest.raises(NetworkError, match="every node has a chain of that name"):
        NewChain("json.decoder:VM", name, vm_name="vm")


def test_a_genesis_longer_than_nodes_take_is_refused_before_anything_starts() -> None:
    NewChain("json.decoder:VM", vm_name="vm", genesis=bytes(255 * 1024))
    with pytest.raises(NetworkError, match=r"261121 bytes, .* at most 261120"):
        NewChain("json.decoder:VM", vm_name="vm", genesis=bytes(255 * 1024 + 1))


def test_a_genesis_is_known_again_by_its_hash() -> None:
    new = NewChain("json.decoder:VM", vm_name="vm", genesis=b"g")
    assert new.genesis_hash == hashlib.sha256(b"g").hexdigest()


@pytest.mark.parametrize("target", ["vm.py:VM", "vm.py", "./plugin"])
def test_a_file_means_the_same_from_everywhere(target: str, folder: Path) -> None:
    assert NewChain(target, vm_name="vm").target == str(folder / target)


def test_a_module_is_named_as_it_was_given() -> None:
    assert NewChain("json.decoder:VM", vm_name="vm").target == "json.decoder:VM"


def test_a_file_that_is_not_there_is_reported() -> None:
    with pytest.raises(TargetError):
        NewChain("no/such/vm.py")


def test_an_executable_is_linked_to_by_the_id_of_its_name_or_of_its_file(
    folder: Path, tmp_path: Path
) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    for target in ("./plugin", "./plugin", "./tGas3T58KzdjcJ2iKSyiYsWiqYctRXaPTqBCA11BqEkNg8kPc"):
        vm = place(find(target), "plugin", plugins, 45, {})
        assert (plugins / str(vm)).samefile(target)
    assert len(list(plugins.iterdir())) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"nodes": 0}, "at least one"),
        ({"http_port": 0}, "between 1 and 65535"),
        ({"http_port": 65535}, "between 1 and 65535"),
        ({"http_port": 65530, "nodes": 4}, "4 nodes can't have ports"),
        ({"nodes": 2, "weights": [100]}, r"2 nodes can't have the weights \[100\]"),
        ({"nodes": 2, "weights": [100, 0]}, "of at least 1"),
        ({"nodes": 2, "weights": [10, 9]}, "20 or more in total"),
    ],
)
def test_impossible_numbers_are_refused_before_anything_starts(options: dict[str, Any], words: str) -> None:
    with pytest.raises(NetworkError, match=words):
        LocalNetwork(**options)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with two sources and two executables."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("vm.py", "my vm.py", "plugin", "tGas3T58KzdjcJ2iKSyiYsWiqYctRXaPTqBCA11BqEkNg8kPc"):
        (folder / name).touch()
        (folder / name).chmod(0o755)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("flags", "level"), [({}, "INFO"), ({"log-level": "debug"}, "DEBUG"), ({"log-level": "off"}, "OFF")]
)
def test_a_vm_logs_from_the_nodes_level_on(flags: dict[str, str], level: str, tmp_path: Path) -> None:
    example = Path(__file__).resolve().parents[3] / "examples" / "timestamp" / "timestampvm.py"
    vm = place(find(f"{example}:TimestampVM"), "timestampvm", tmp_path, 45, flags)
    assert f"log_level={level!r}" in (tmp_path / str(vm)).read_text()


def test_two_chains_of_one_name_are_refused() -> None:
    with pytest.raises(NetworkError, match=r"two chains .* 'vm'"):
        LocalNetwork(*(NewChain(target, vm_name="vm") for target in ("json.decoder:VM", "json.encoder:VM")))
