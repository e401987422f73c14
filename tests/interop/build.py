"""Builds our Go programs against a node's module: `python -m tests.interop.build [NAME ...]`."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tests.gobuild import build_all, go_build, go_version, locked

from .nodes import AVALANCHEGO, NODES, Node

HERE = Path(__file__).resolve().parent
CACHE_VARIABLE = "VMSDK_INTEROP_CACHE"
SUMS = HERE / "go.sum"
"""Checksums of the modules of every node, in one file: Go takes more than it needs."""

PROGRAMS = ("host", "timestampvm")
PEER = "p2ppeer"
NODES_WITH_PEER = (NODES["43"], NODES["45"])
"""The releases of the peer library, and of xsvm, that ours are tested with."""

XSVM, XSVM_JUDGE = "xsvm", "xsvmjudge"
PACKAGES = {XSVM: "vms/example/xsvm/cmd/xsvm"}
"""The programs that are a command of the node's module, with no sources of ours."""


def cache_directory() -> Path:
    """Where the programs are built: outside the sources, or where `VMSDK_INTEROP_CACHE` says."""
    override = os.environ.get(CACHE_VARIABLE)
    return Path(override) if override else HERE.parents[1] / ".cache" / "interop"


def build(program: str, node: Node, progress: Callable[[], object] | None = None) -> Path:
    """Return the path of the program's executable, built first if its sources have changed."""
    directory = cache_directory()
    directory.mkdir(parents=True, exist_ok=True)
    binary = directory / f"{program}-{node.name}"
    sources = _sources(program, node)
    fingerprint = _fingerprint(sources)
    stamp = binary.with_name(binary.name + ".stamp")
    with locked(binary.with_name(binary.name + ".lock")):
        if not (binary.exists() and stamp.exists() and stamp.read_text() == fingerprint):
            workspace = directory / "src" / binary.name
            _write(workspace, sources)
            _compile(program, node, workspace, binary, progress)
            stamp.write_text(fingerprint)
    return binary


def update_sums() -> None:
    """Adds what the builds have learnt to the checksums in the sources."""
    lines: set[str] = set()
    for path in (SUMS, *(cache_directory() / "src").glob("*/go.sum")):
        if path.exists():
            lines.update(path.read_text().splitlines())
    SUMS.write_text("".join(f"{line}\n" for line in sorted(lines)))


def _sources(program: str, node: Node) -> Mapping[str, str]:
    """The program's files with the node's own module path, and its `go.mod`."""
    requirements = "".join(f"\t{requirement}\n" for requirement in node.requirements)
    files = {"go.mod": f"module interop/{program}\n\ngo {node.go}\n\nrequire (\n{requirements})\n"}
    for path in sorted((HERE / program).glob("*.go")):
        files[path.name] = path.read_text(encoding="utf-8").replace(AVALANCHEGO, node.module)
    return files


def _fingerprint(sources: Mapping[str, str]) -> str:
    digest = hashlib.sha256(str(go_version()).encode())
    for name, text in sources.items():
        digest.update(f"{name}\0{text}\0".encode())
    return digest.hexdigest()


def _write(workspace: Path, sources: Mapping[str, str]) -> None:
    shutil.rmtree(workspace, ignore_errors=True)
    workspace.mkdir(parents=True)
    for name, text in sources.items():
        (workspace / name).write_text(text, encoding="utf-8")
    if SUMS.exists():
        shutil.copy(SUMS, workspace / "go.sum")


def _compile(
    program: str, node: Node, workspace: Path, binary: Path, progress: Callable[[], object] | None
) -> None:
    # -mod=mod: the node's own go.mod pins everything else, so ours lists the node only.
    package = f"{node.module}/{PACKAGES[program]}" if program in PACKAGES else "."
    arguments = ["-mod=mod", "-tags", ",".join(node.tags), "-o", str(binary), package]
    go_build(f"{program} with {node.module} {node.version}", arguments, workspace, progress)


def main() -> int:
    """Build what the command line names, or everything."""
    parser = argparse.ArgumentParser(description="Build the Go programs of the interop tests.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"a node ({', '.join(NODES)}); default: all")
    parser.add_argument(
        "--update-sums", action="store_true", help="add new checksums to tests/interop/go.sum"
    )
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NODES]
    if unknown:
        parser.error(f"unknown node {unknown[0]!r}: one of {', '.join(NODES)}")
    status = build_all(
        [
            (f"{program} with {node.application} {node.version}", partial(build, program, node))
            for node in (NODES[name] for name in arguments.names or NODES)
            for program in (*PROGRAMS, *([PEER, XSVM, XSVM_JUDGE] if node in NODES_WITH_PEER else []))
        ]
    )
    if status == 0 and arguments.update_sums:
        update_sums()
    return status


if __name__ == "__main__":
    sys.exit(main())
