"""The contracts in .importlinter accept the floors, and find an import that goes up.

Each test builds the floors as a package of empty modules and plants a violation in it.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("importlinter")

CONFIGURATION = Path(__file__).parents[2] / ".importlinter"

FLOORS = "Imports go down the floors"
ROOT = "Inside, names are imported from their homes, not from the package"
CYCLES = "No module depends on itself"
WIRE = "Only the floors that speak gRPC know it, and the generated code"
HOST = "The host speaks only the wire"
P2P = "Messages between peers are protobuf, but not gRPC"
NETWORK = "Networks of real nodes know nothing of the VM's side of the wire"
SERVICES = "Clients of the node know nothing of the VM"

REQUIRED_BY_THE_WIRE_CONTRACT = {
    "services",
    "rpc",
    "runtime",
    "host",
    "install",
    "p2p",
    "testing",
    "doctor",
    "warp",
}
FILE = "import os\n"

# Importing import-linter takes longer than a run of it: one process does so once, and forks for
# each run.
LINTER = """
import os, sys
from importlinter.cli import lint_imports_command
for directory in map(str.strip, sys.stdin):
    if os.fork() == 0:
        os.chdir(directory)
        sys.path.insert(0, directory)
        os.dup2(os.open("output", os.O_WRONLY | os.O_CREAT), 1)
        lint_imports_command([f"--config={sys.argv[1]}", "--no-cache"])
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""

Lint = Callable[[Path], list[str]]


def floors() -> list[str]:
    """The modules named in the first contract."""
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


@pytest.fixture(scope="module")
def broken_contracts() -> Iterator[Lint]:
    """A function that returns the names of the contracts that import-linter finds broken,
    sorted.
    """
    command = [sys.executable, "-c", LINTER, str(CONFIGURATION)]
    environment = {"NO_COLOR": "1", "COLUMNS": "200"}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ask, reply = process.stdin, process.stdout

        def lint(directory: Path) -> list[str]:
            ask.write(f"{directory}\n")
            status = int(reply.readline())
            output = (directory / "output").read_text("utf-8")
            broken = re.findall(r"^(.+) BROKEN\b", output, re.MULTILINE)
            assert bool(broken) == bool(status), output
            return sorted(broken)

        yield lint
        process.stdin.close()


def test_floors_without_imports_keep_every_contract(tmp_path: Path, broken_contracts: Lint) -> None:
    build(tmp_path, floors())
    assert broken_contracts(tmp_path) == []


def test_floors_that_do_not_exist_yet_break_nothing(tmp_path: Path, broken_contracts: Lint) -> None:
    missing = optional_floors() - REQUIRED_BY_THE_WIRE_CONTRACT
    assert "chain" in missing
    build(tmp_path, [name for name in floors() if name not in missing])
    assert broken_contracts(tmp_path) == []


def test_a_module_that_is_not_on_any_floor_is_found(tmp_path: Path, broken_contracts: Lint) -> None:
    build(tmp_path, [*floors(), "utils"])
    assert broken_contracts(tmp_path) == [FLOORS]


@pytest.mark.parametrize(
    ("importer", "imported", "contract"),
    [
        ("testing", "cli", FLOORS),
        ("host", "testing", FLOORS),
        ("host", "network", FLOORS),
        ("network", "host", NETWORK),
        ("install", "network", FLOORS),
        ("serving", "install", FLOORS),
        ("host", "install", FLOORS),
        ("runtime", "serving", FLOORS),
        ("rpc", "runtime", FLOORS),
        ("services", "rpc", FLOORS),
        ("http", "services", FLOORS),
        ("chain", "http", FLOORS),
        ("p2p", "chain", FLOORS),
        ("vm", "p2p", FLOORS),
        ("vm", "services", FLOORS),
        ("context", "vm", FLOORS),
        ("nodeservices", "context", FLOORS),
        ("database", "nodeservices", FLOORS),
        ("ids", "database", FLOORS),
        ("_pb", "database", FLOORS),
        ("host", "rpc", HOST),
        ("host", "http", HOST),
        ("host", "serving", HOST),
        ("network", "rpc", NETWORK),
        ("services", "block", SERVICES),
        ("http", "_pb", WIRE),
        ("network", "_pb", WIRE),
        ("vm", "_pb", WIRE),
    ],
)
def test_an_import_in_the_wrong_direction_is_found(
    tmp_path: Path, broken_contracts: Lint, importer: str, imported: str, contract: str
) -> None:
    package = build(tmp_path, floors())
    (package / importer / "wrong.py").write_text(f"from vmsdk.{imported} import part\n")
    assert broken_contracts(tmp_path) == [contract]


def test_an_import_for_type_checkers_is_found(tmp_path: Path, broken_contracts: Lint) -> None:
    package = build(tmp_path, floors())
    (package / "rpc" / "wrong.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from vmsdk.runtime import part\n"
    )
    assert broken_contracts(tmp_path) == [FLOORS]


def test_an_import_inside_a_function_is_found(tmp_path: Path, broken_contracts: Lint) -> None:
    package = build(tmp_path, floors())
    (package / "ids" / "wrong.py").write_text("def late():\n    from vmsdk.vm import part\n")
    assert broken_contracts(tmp_path) == [FLOORS]


@pytest.mark.parametrize("library", ["grpc", "google.protobuf"])
@pytest.mark.parametrize("floor", ["database", "http", "chain", "network"])
def test_grpc_on_a_floor_that_must_not_know_it_is_found(
    tmp_path: Path, broken_contracts: Lint, floor: str, library: str
) -> None:
    package = build(tmp_path, floors())
    (package / floor / "wrong.py").write_text(f"import {library}\n")
    assert broken_contracts(tmp_path) == [WIRE]


def test_grpc_between_peers_is_found(tmp_path: Path, broken_contracts: Lint) -> None:
    package = build(tmp_path, floors())
    (package / "p2p" / "wrong.py").write_text("import grpc\n")
    assert broken_contracts(tmp_path) == [P2P]


def test_an_import_of_the_package_itself_is_found(tmp_path: Path, broken_contracts: Lint) -> None:
    package = build(tmp_path, floors())
    (package / "rpc" / "wrong.py").write_text("from vmsdk import ChainVM\n")
    assert broken_contracts(tmp_path) == [ROOT]


def test_a_cycle_is_found(tmp_path: Path, broken_contracts: Lint) -> None:
    package = build(tmp_path, floors())
    (package / "ids" / "wrong.py").write_text("import vmsdk.errors.part\n")
    (package / "errors" / "wrong.py").write_text("import vmsdk.ids.part\n")
    assert broken_contracts(tmp_path) == [CYCLES]
