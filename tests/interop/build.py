"""Builds our Go programs against a node's module: `python -m tests.interop.build [NAME ...]`."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from .nodes import AVALANCHEGO, NODES, Node

HERE = Path(__file__).resolve().parent
CACHE_VARIABLE = "VMSDK_INTEROP_CACHE"
SUMS = HERE / "go.sum"
"""Checksums of the modules of every node, in one file: Go takes more than it needs."""

PROGRAMS = ("host", "timestampvm")


class BuildError(Exception):
    """The Go compiler refused one of our programs."""

    def __init__(self, program: str, node: Node, output: str) -> None:
        self.program = program
        self.node = node
        self.output = output
        super().__init__(f"{program} does not build with {node.module} {node.version}:\n{output}")


def cache_directory() -> Path:
    """Where the programs are built: outside the sources, or where `VMSDK_INTEROP_CACHE` says."""
    override = os.environ.get(CACHE_VARIABLE)
    return Path(override) if override else HERE.parents[1] / ".cache" / "interop"


@cache
def go_version() -> str | None:
    """What `go env GOVERSION` says, or None where there is no Go."""
    if shutil.which("go") is None:
        return None
    return subprocess.run(
        ["go", "env", "GOVERSION"], check=True, capture_output=True, text=True
    ).stdout.strip()


def build(program: str, node: Node) -> Path:
    """Path of the program's executable, built first where its sources have changed since."""
    directory = cache_directory()
    directory.mkdir(parents=True, exist_ok=True)
    binary = directory / f"{program}-{node.name}"
    sources = _sources(program, node)
    fingerprint = _fingerprint(sources)
    stamp = binary.with_name(binary.name + ".stamp")
    with _locked(binary.with_name(binary.name + ".lock")):
        if not (binary.exists() and stamp.exists() and stamp.read_text() == fingerprint):
            workspace = directory / "src" / binary.name
            _write(workspace, sources)
            _compile(program, node, workspace, binary)
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


def _compile(program: str, node: Node, workspace: Path, binary: Path) -> None:
    # -mod=mod: the node's own go.mod says which version of everything else is used, so ours lists the node alone.
    command = [
        "go",
        "build",
        "-mod=mod",
        "-buildvcs=false",
        "-trimpath",
        "-p",
        str(min(2, os.cpu_count() or 1)),
    ]
    command += ["-tags", ",".join(node.tags), "-o", str(binary), "."]
    if shutil.which("nice"):
        command = ["nice", *command]
    done = subprocess.run(
        command, cwd=workspace, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise BuildError(program, node, done.stdout)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keeps several test processes from building the same program at once."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """The command: builds what it is told to, or everything."""
    parser = argparse.ArgumentParser(description="Build the Go programs of the interop tests.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"a node ({', '.join(NODES)}); default: all")
    parser.add_argument(
        "--update-sums", action="store_true", help="add new checksums to tests/interop/go.sum"
    )
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NODES]
    if unknown:
        parser.error(f"unknown node {unknown[0]!r}: one of {', '.join(NODES)}")
    if go_version() is None:
        print("there is no `go` in PATH: install Go 1.26 or newer (https://go.dev/dl)", file=sys.stderr)
        return 1
    names = arguments.names or list(NODES)
    for count, name in enumerate(names, 1):
        node = NODES[name]
        for program in PROGRAMS:
            print(
                f"[{count}/{len(names)}] {program} with {node.application} {node.version}: ",
                end="",
                flush=True,
            )
            started = time.monotonic()
            try:
                build(program, node)
            except BuildError as error:
                print("failed")
                print(error.output, file=sys.stderr)
                return 1
            print(f"{time.monotonic() - started:.1f} s")
    if arguments.update_sums:
        update_sums()
    return 0


if __name__ == "__main__":
    sys.exit(main())
