"""`vmsdk new`: a project for a new VM, with tests, lint and CI."""

from __future__ import annotations

import argparse
import keyword
import os
import re
import sys
from pathlib import Path
from string import Template

from vmsdk._version import __version__
from vmsdk.cli.arguments import filled_path
from vmsdk.errors import VMError
from vmsdk.ids import vm_id

NAME = "new"
HELP = "create a project for a new VM"
DESCRIPTION = """\
Create the folder NAME with a working VM, its tests, and the configuration of pytest, ruff, mypy and CI. The
VM is built on vmsdk.chain; with --low-level, it is a ChainVM with its own blocks.
"""

_TEMPLATE = Path(__file__).parent / "template"
_SUFFIX = ".tmpl"
# Modules of the project itself, and those that vmsdk and its tests import.
_TAKEN = (
    *("anyio", "conftest", "cryptography", "ecdsa", "google", "grpc", "grpc_health", "h11", "h2", "httpx"),
    *("nacl", "opentelemetry", "packaging", "pluggy", "prometheus_client", "psutil", "pytest", "rich"),
    *("tests", "typing_extensions", "vmsdk", "watchfiles", "websockets", "wsproto"),
)
# Classes that a template has already.
_CLASSES = ("Annotated", "Any", "Block", "Note")
_BUILT_IN = ("avm", "evm", "platformvm")
_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the name of the VM, such as my-chain")
    parser.add_argument("--low-level", action="store_true", help="write the VM's own blocks and storage")
    parser.add_argument(
        "--directory", type=filled_path, metavar="DIR", help="the project's folder (default: NAME, here)"
    )


def run(args: argparse.Namespace) -> int:
    values = _values(args.name)
    project: Path = args.directory or Path(args.name)
    _write(project, "low-level" if args.low_level else "chain", values)
    print(f"""\
{args.name} is in {project}. Next:
  cd {project}
  python3 -m venv .venv && . .venv/bin/activate
  pip install -e '.[dev]'
  pytest
  vmsdk dev {values["module"]}.py""")
    return 0


def _values(name: str) -> dict[str, str]:
    """The values of the placeholders in a template."""
    module = name.replace("-", "_")
    problem = ""
    if not _NAME.fullmatch(name):
        problem = "use lower-case letters and digits, with - or _ between words, such as my-chain"
    elif keyword.iskeyword(module):
        problem = "it is a Python keyword, so it can't be imported"
    elif module in sys.stdlib_module_names or module in _TAKEN:
        problem = f"there is already a module called {module}"
    elif name in _BUILT_IN:
        problem = "it is one of the node's own VMs"
    if problem:
        raise VMError(f"{name!r} is not a valid project name: {problem}")
    class_name = "".join(word.capitalize() for word in module.split("_"))
    try:
        plugin = vm_id(name)
    except ValueError as error:
        raise VMError(str(error)) from None
    return {
        "name": name,
        "module": module,
        "class_name": class_name + "Chain" * (class_name in _CLASSES),
        "vm_id": str(plugin),
        "vmsdk_version": __version__,
    }


def _write(project: Path, kind: str, values: dict[str, str]) -> None:
    """Write the files into a folder that is new or empty. Raises `VMError` if it can't."""
    try:
        if os.path.lexists(project) and not project.is_dir():
            raise VMError(f"{project} is not a folder: choose another --directory, or another name")
        if project.is_dir() and any(project.iterdir()):
            raise VMError(f"{project} is not empty: choose another --directory, or another name")
        for folder in (_TEMPLATE / "common", _TEMPLATE / kind):
            for source in sorted(folder.rglob(f"*{_SUFFIX}")):
                path = str(source.relative_to(folder)).removesuffix(_SUFFIX)
                target = project / Template(path).substitute(values)
                target.parent.mkdir(parents=True, exist_ok=True)
                text = Template(source.read_text(encoding="utf-8")).substitute(values)
                target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise VMError(f"{error.filename or project} can't be written: {error.strerror}") from None
