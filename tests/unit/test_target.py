"""What a target's text names."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmsdk import target
from vmsdk.ids import vm_id
from vmsdk.target import ExecutableTarget, SourceTarget, TargetError

VM = """\
import vmsdk

class {name}(vmsdk.ChainVM):
    def initialize(self, ctx, genesis, upgrade, config): ...
    def last_accepted(self): ...
    def get_block(self, block_id): ...
    def parse_block(self, data): ...
    def build_block(self): ...
    def set_preference(self, block_id): ...
    def get_block_id_at_height(self, height): ...
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder; imports made in a test are forgotten after it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(path: str, *names: str, text: str = "") -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(VM.format(name=name) for name in names) + text)
    return file


def source(text: str) -> SourceTarget:
    found = target.find(text)
    assert isinstance(found, SourceTarget)
    return found


# Sources ------------------------------------------------------------------------------------------


def test_a_method_of_an_optional_interface_that_is_not_a_base_is_refused(folder: Path) -> None:
    write("vm.py", "Coin", text="    def get_ancestors(self, *arguments): ...\n")
    with pytest.raises(TypeError, match=r"^Coin\.get_ancestors is never called, .* vmsdk\.GetAncestors"):
        source("vm.py").load()


def test_a_file_with_one_vm_needs_no_class(folder: Path) -> None:
    write("chains/vm.py", "Coin")
    found = source("chains/vm.py")
    assert found.load().__name__ == "Coin"
    assert found.root == found.code == folder / "chains"
    assert found.file == folder / "chains" / "vm.py"


def test_a_file_with_several_vms_wants_a_class() -> None:
    write("vm.py", "Coin", "Art")
    assert source("vm.py:Art").load().__name__ == "Art"
    with pytest.raises(TargetError) as error:
        source("vm.py").load()
    assert str(error.value) == "vm.py: has 2 VMs (Art, Coin): choose one, such as vm.py:Art"


def test_a_class_may_lie_within_another() -> None:
    write("vm.py", "Coin", text="class Box:\n    inner = Coin\n")
    assert source("vm.py:Box.inner").load().__name__ == "Coin"


def test_a_file_finds_the_modules_beside_it() -> None:
    write("chains/rules.py", text="LIMIT = 7\n")
    write("chains/vm.py", "Coin", text="from rules import LIMIT\nCoin.limit = LIMIT\n")
    assert vars(source("chains/vm.py").load())["limit"] == 7


def test_a_file_within_a_package_is_imported_as_its_module(folder: Path) -> None:
    write("src/coins/__init__.py")
    write("src/coins/rules.py", text="LIMIT = 7\n")
    write("src/coins/vm/__init__.py")
    write("src/coins/vm/coin.py", "Coin", text="from ..rules import LIMIT\n")
    found = source("src/coins/vm/coin.py")
    assert (found.module, found.root) == ("coins.vm.coin", folder / "src")
    assert found.code == folder / "src" / "coins"
    assert found.load().__module__ == "coins.vm.coin"


def test_a_package_is_named_by_its_own_file_or_as_a_module(folder: Path) -> None:
    write("coins/vm.py", "Coin")
    write("coins/__init__.py", text="from coins.vm import Coin\n")
    for text in ("coins/__init__.py", "coins", "coins:Coin"):
        found = source(text)
        assert found.load().__name__ == "Coin"
        assert found.code == folder / "coins"


@pytest.mark.parametrize("name", ["my-vm.py", "vmsdk.py", "json.py", "2.py"])
def test_a_file_may_be_called_anything(name: str) -> None:
    write(f"chains/{name}", "Coin")
    assert source(f"chains/{name}").load().__name__ == "Coin"


@pytest.mark.parametrize("name", ["queue", "calendar", "numbers", "time", "grpc"])
def test_a_vm_called_like_a_module_of_python_leaves_that_module_alone(name: str) -> None:
    importlib.import_module("grpc")  # as in a plugin, where it comes before the author's code
    write(f"chains/{name}.py", "Coin", text=f"import {name}\nassert not hasattr({name}, 'Coin')\n")
    assert source(f"chains/{name}.py").load().__name__ == "Coin"
    assert not hasattr(importlib.import_module(name), "Coin")


def test_a_file_called_like_no_other_module_can_be_imported_by_its_name() -> None:
    write("chains/coinvm.py", "Coin")
    assert source("chains/coinvm.py").load() is importlib.import_module("coinvm").Coin


def test_a_package_called_like_a_module_of_python_has_to_be_renamed() -> None:
    write("numbers/vm.py", "Coin")
    write("numbers/__init__.py")
    for text in ("numbers.vm", "numbers/vm.py"):
        with pytest.raises(TargetError, match="the package numbers has the name of a module of Python"):
            source(text).load()


@pytest.mark.parametrize("text", ["a:b/vm.py", "a:b/vm.py:Coin", "c:d.py"])
def test_a_folder_or_a_file_may_have_a_colon_in_its_name(text: str) -> None:
    write("a:b/vm.py", "Coin")
    write("c:d.py", "Coin")
    assert source(text).load().__name__ == "Coin"


def test_a_target_means_the_same_in_another_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("coinvm.py", "Coin")
    write("other/coinvm.py", "Wrong")
    write("other/coinvm", "Wrong")
    found = source("coinvm")
    monkeypatch.chdir(folder / "other")
    assert found.load().__name__ == "Coin"


def test_a_deleted_current_folder_does_no_harm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write("coinvm.py", "Coin").absolute()
    gone = folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert source(str(file)).load().__name__ == "Coin"
    with pytest.raises(TargetError, match="there is no module nothing"):
        target.find("nothing.here")


def test_vms_that_a_file_only_imports_do_not_count_beside_its_own() -> None:
    write("base.py", "Base")
    write("vm.py", text="from base import Base\nclass Coin(Base): pass\n")
    assert source("vm.py").load().__name__ == "Coin"


def test_an_abstract_base_does_not_count_beside_a_vm() -> None:
    write("vm.py", "Coin", text="class Base(vmsdk.ChainVM): pass\n")
    assert source("vm.py").load().__name__ == "Coin"


def test_the_error_names_what_an_unfinished_vm_lacks() -> None:
    write("vm.py", text="import vmsdk\nclass Half(vmsdk.ChainVM):\n    def last_accepted(self): ...\n")
    with pytest.raises(TargetError) as error:
        source("vm.py").load()
    assert "last_accepted" not in str(error.value)
    assert "the class Half lacks build_block, " in str(error.value)


@pytest.mark.parametrize("constructor", ["__init__", "__new__"])
def test_a_vm_whose_constructor_takes_arguments_is_named(constructor: str) -> None:
    write("vm.py", "Coin", text=f"class Bank(Coin):\n    def {constructor}(self, owner): ...\n")
    with pytest.raises(TargetError, match=r"Bank\.__init__ takes arguments \(missing .*'owner'\), but"):
        source("vm.py:Bank").load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vm.py:Nothing", "there is no class Nothing; the VMs there: Coin"),
        ("vm.py:number", "number is not a class derived from vmsdk.ChainVM"),
        ("vm.py:Plain", "Plain is not a class derived from vmsdk.ChainVM"),
        ("none.py", "there is no class derived from vmsdk.ChainVM"),
        ("nothing.here", "there is no module nothing"),
        ("chains.nothing", "there is no module chains.nothing"),
    ],
)
def test_what_a_source_lacks_is_told(text: str, message: str) -> None:
    write("vm.py", "Coin", text="number = 1\nclass Plain: pass\n")
    write("none.py", text="import vmsdk\nfrom vmsdk import ChainVM\n")
    write("chains/__init__.py")
    with pytest.raises(TargetError, match=message):
        source(text).load()


def test_an_import_that_fails_within_the_source_is_not_taken_for_a_missing_target() -> None:
    write("chains/__init__.py")
    write("chains/vm.py", text="import chains.rules\n")
    with pytest.raises(ModuleNotFoundError, match=r"chains\.rules"):
        source("chains.vm").load()


# Files that are not source code ------------------------------------------------------------------


def test_an_executable_is_a_plugin(folder: Path) -> None:
    write("plugin").chmod(0o755)
    assert target.find("plugin") == ExecutableTarget("plugin", folder / "plugin")
    assert target.find("./plugin") == ExecutableTarget("./plugin", folder / "plugin")


def test_an_executable_is_called_by_its_file_or_by_what_its_vm_id_says() -> None:
    assert ExecutableTarget("", Path("/p/my-vm.exe")).name == "my-vm"
    assert ExecutableTarget("", Path(f"/p/{vm_id('timestampvm')}")).name == "timestampvm"
    hashed = "2c7iUW3kCDwRA9ZFd5bjZZc8iDy68uAsFSBahjqSZGttiTDSNH"
    assert ExecutableTarget("", Path(f"/p/{hashed}")).name == hashed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("missing.py", "there is no file missing.py"),
        ("chains/missing", "there is no file chains/missing"),
        ("./chains", "is a folder"),
        ("plain", r"neither Python source \(.py\) nor executable: chmod \+x plain"),
        ("plugin:Coin", "is an executable, which has no classes"),
        ("no-module", "there is no such file, and it is not a valid module name"),
        ("", "there is no such file"),
        (":", "there is no such file"),
    ],
)
def test_what_is_not_a_target_is_told(text: str, message: str) -> None:
    Path("chains").mkdir()
    write("plain")
    write("plugin").chmod(0o755)
    with pytest.raises(TargetError, match=message):
        target.find(text)
