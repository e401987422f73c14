"""The contracts in .importlinter let the floors be, and catch an import that goes up.

The floors are rebuilt as a package of empty modules, so that a violation can be planted.
"""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter")

CONFIGURATION = Path(__file__).parents[2] / ".importlinter"

FLOORS = "Imports go down the floors"
ROOT = "Inside, names are imported from their homes, not from the package"
CYCLES = "No module depends on itself"
WIRE = "Only the floors that speak gRPC know it, and the generated code"
HOST = "The host speaks only the wire"
NETWORK = "Networks of real nodes know nothing of the VM's side of the wire"
SERVICES = "Clients of the node know nothing of the VM"

REQUIRED_BY_THE_WIRE_CONTRACT = {"services", "rpc", "runtime", "host"}
FILE = "import os\n"


def floors() -> list[str]:
    """The module names in the lines of the first contract."""
    parser = configparser.ConfigParser()
    parser.read(CONFIGURATION)
    return re.findall(r"\w+", parser["importlinter:contract:floors"]["layers"])


def optional_floors() -> set[str]:
    parser = configparser.ConfigParser()
    parser.read(CONFIGURATION)
    return set(re.findall(r"\((\w+)\)", parser["importlinter:contract:floors"]["layers"]))


def build(directory: Path, names: list[str]) -> Path:
    package = directory / "vmsdk"
    package.mkdir()
    (package / "__init__.py").write_text("from vmsdk.vm import ChainVM\n")
    for name in names:
        (package / name).mkdir()
        (package / name / "__init__.py").write_text(FILE)
        (package / name / "part.py").write_text(FILE)
    # A contract can only protect what is imported somewhere.
    (package / "rpc" / "part.py").write_text("import grpc\nimport google.protobuf\nimport vmsdk._pb\n")
    return package


def broken_contracts(directory: Path) -> list[str]:
    """The names of the contracts that import-linter finds broken, sorted."""
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as main; main()",
            f"--config={CONFIGURATION}",
            "--no-cache",
        ],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(directory), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    broken = re.findall(r"^(.+) BROKEN\b", result.stdout, re.MULTILINE)
    assert bool(broken) == bool(result.returncode), result.stdout + result.stderr
    return sorted(broken)


def test_floors_without_imports_keep_every_contract(tmp_path: Path) -> None:
    build(tmp_path, floors())
    assert broken_contracts(tmp_path) == []


def test_floors_that_are_not_built_yet_break_nothing(tmp_path: Path) -> None:
    missing = optional_floors() - REQUIRED_BY_THE_WIRE_CONTRACT
    assert {"testing", "chain", "install"} <= missing
    build(tmp_path, [name for name in floors() if name not in missing])
    assert broken_contracts(tmp_path) == []


def test_a_module_that_belongs_to_no_floor_is_refused(tmp_path: Path) -> None:
    build(tmp_path, [*floors(), "utils"])
    assert broken_contracts(tmp_path) == [FLOORS]


@pytest.mark.parametrize(
    ("importer", "imported", "contract"),
    [
        ("testing", "cli", FLOORS),
        ("host", "testing", FLOORS),
        ("host", "network", FLOORS),
        ("network", "host", FLOORS),
        ("install", "network", FLOORS),
        ("serve", "install", FLOORS),
        ("runtime", "serve", FLOORS),
        ("rpc", "runtime", FLOORS),
        ("services", "rpc", FLOORS),
        ("http", "services", FLOORS),
        ("chain", "http", FLOORS),
        ("vm", "services", FLOORS),
        ("context", "vm", FLOORS),
        ("nodeservices", "context", FLOORS),
        ("database", "nodeservices", FLOORS),
        ("ids", "database", FLOORS),
        ("_pb", "database", FLOORS),
        ("host", "rpc", HOST),
        ("host", "http", HOST),
        ("host", "serve", HOST),
        ("host", "install", HOST),
        ("network", "rpc", NETWORK),
        ("services", "block", SERVICES),
        ("http", "_pb", WIRE),
        ("network", "_pb", WIRE),
        ("vm", "_pb", WIRE),
    ],
)
def test_an_import_in_the_wrong_direction_is_caught(
    tmp_path: Path, importer: str, imported: str, contract: str
) -> None:
    package = build(tmp_path, floors())
    (package / importer / "wrong.py").write_text(f"from vmsdk.{imported} import part\n")
    assert broken_contracts(tmp_path) == [contract]


def test_an_import_for_type_checkers_only_counts_as_well(tmp_path: Path) -> None:
    package = build(tmp_path, floors())
    (package / "rpc" / "wrong.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from vmsdk.runtime import part\n"
    )
    assert broken_contracts(tmp_path) == [FLOORS]


def test_an_import_within_a_function_counts_as_well(tmp_path: Path) -> None:
    package = build(tmp_path, floors())
    (package / "ids" / "wrong.py").write_text("def late():\n    from vmsdk.vm import part\n")
    assert broken_contracts(tmp_path) == [FLOORS]


@pytest.mark.parametrize("library", ["grpc", "google.protobuf"])
@pytest.mark.parametrize("floor", ["database", "http", "chain", "network"])
def test_a_floor_that_is_free_of_grpc_stays_so(tmp_path: Path, floor: str, library: str) -> None:
    package = build(tmp_path, floors())
    (package / floor / "wrong.py").write_text(f"import {library}\n")
    assert broken_contracts(tmp_path) == [WIRE]


def test_nobody_inside_imports_the_package_itself(tmp_path: Path) -> None:
    package = build(tmp_path, floors())
    (package / "rpc" / "wrong.py").write_text("from vmsdk import ChainVM\n")
    assert broken_contracts(tmp_path) == [ROOT]


def test_two_modules_that_need_each_other_are_caught(tmp_path: Path) -> None:
    package = build(tmp_path, floors())
    (package / "ids" / "wrong.py").write_text("import vmsdk.errors.part\n")
    (package / "errors" / "wrong.py").write_text("import vmsdk.ids.part\n")
    assert broken_contracts(tmp_path) == [CYCLES]
