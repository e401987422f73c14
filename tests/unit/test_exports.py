"""`import vmsdk`: the names that an author needs, at no cost until they are used."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import vmsdk
import vmsdk.http

SOURCE = Path(vmsdk.__file__)


def modules_after(program: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after *program*."""
    program += "\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout))


def names_for_type_checkers(package: ModuleType) -> dict[str, str]:
    """Name by home, as the `if TYPE_CHECKING:` block of *package* tells it."""
    tree = ast.parse(Path(package.__file__ or "").read_text(encoding="utf-8"))
    blocks = [
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    package_name = f"{package.__name__}."
    return {
        alias.name: str(node.module).removeprefix(package_name) for node in imports for alias in node.names
    }


def test_importing_vmsdk_imports_nothing_but_the_package_and_its_version() -> None:
    loaded = modules_after("import vmsdk") - modules_after("import importlib, typing")
    assert {name for name in loaded if name.split(".")[0] not in sys.stdlib_module_names} == {
        "vmsdk",
        "vmsdk._version",
    }


def test_what_an_author_implements_needs_no_library_but_typing_extensions() -> None:
    names = sorted(set(dir(vmsdk)) - {"serve"})
    loaded = modules_after(f"from vmsdk import {', '.join(names)}") - modules_after("")
    outside = {name.split(".")[0] for name in loaded} - sys.stdlib_module_names
    assert outside <= {"vmsdk", "typing_extensions"}
    assert not {
        name for name in loaded if name.startswith(("vmsdk._pb", "vmsdk.rpc", "vmsdk.host", "vmsdk.cli"))
    }


def test_serving_needs_neither_the_host_nor_the_command_nor_an_extra() -> None:
    # gRPC itself comes later: while the node is asked for its version.
    assert "grpc" not in modules_after("from vmsdk import serve")
    loaded = modules_after("from vmsdk import serve; import vmsdk.runtime.handshake, vmsdk.rpc.server")
    assert "grpc" in loaded
    for unneeded in (
        "vmsdk.host",
        "vmsdk.network",
        "vmsdk.testing",
        "vmsdk.cli",
        "vmsdk.rpc.publicserver",
        "vmsdk.rpc.tracing",
        "grpc._channel",
        "py_arkworks_bls12381",
        "rich",
        "h11",
        "h2",
    ):
        assert unneeded not in loaded


@pytest.mark.parametrize("name", dir(vmsdk))
def test_every_exported_name_is_there_and_comes_from_its_home(name: str) -> None:
    value = getattr(vmsdk, name)
    if name != "__version__":
        home = f"vmsdk.{vmsdk._HOMES[name]}"
        assert value is getattr(sys.modules[home], name)


@pytest.mark.parametrize("package", [vmsdk, vmsdk.http])
def test_type_checkers_see_the_same_names_from_the_same_homes(package: Any) -> None:
    assert names_for_type_checkers(package) == package._HOMES
    for name, home in package._HOMES.items():
        value = getattr(package, name)
        assert value is getattr(sys.modules[f"{package.__name__}.{home}"], name)


def test_json_rpc_needs_no_other_kind_of_app() -> None:
    loaded = modules_after("from vmsdk.http import JSONRPC, JSONRPCError")
    assert not {"vmsdk.http.wsgi", "vmsdk.http.mount", "vmsdk.http.subscriptions"} & loaded


def test_a_name_that_vmsdk_http_does_not_export_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'vmsdk\.http' has no attribute 'JSONRCP'"):
        vmsdk.http.JSONRCP  # type: ignore[attr-defined]  # noqa: B018


def test_dir_and_star_import_give_the_exported_names() -> None:
    namespace: dict[str, object] = {}
    exec("from vmsdk import *", namespace)
    assert sorted(namespace.keys() - {"__builtins__"}) == dir(vmsdk)


def test_a_name_that_is_not_exported_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'vmsdk' has no attribute 'Sever'"):
        vmsdk.Sever  # type: ignore[attr-defined]  # noqa: B018


def test_the_package_says_that_it_is_typed() -> None:
    assert SOURCE.with_name("py.typed").is_file()
