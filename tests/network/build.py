"""Builds the nodes that the tests run, from AvalancheGo's published Go module: `python -m tests.network.build`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE_VARIABLE = "VMSDK_NODE_CACHE"
MODULE = "github.com/ava-labs/avalanchego"

PROTOCOLS = (43, 45)
"""For each there is a Go module in `nodes/`, which pins the node's version and the checksums of all that it is built from."""


class BuildError(Exception):
    """The node could not be built."""

    def __init__(self, protocol: int, output: str) -> None:
        self.protocol = protocol
        self.output = output
        super().__init__(f"the node of protocol {protocol} does not build:\n{output}")


def has_go() -> bool:
    """Whether a node can be built here."""
    return shutil.which("go") is not None


def path_of(protocol: int) -> Path:
    """Where the node of that protocol is, or will be: `.cache/nodes/`, or where `VMSDK_NODE_CACHE` says."""
    module = (HERE / "nodes" / f"protocol{protocol}" / "go.mod").read_text(encoding="utf-8")
    match = re.search(rf"{re.escape(MODULE)} (v\S+)", module)
    if match is None:
        raise BuildError(protocol, f"its go.mod does not require {MODULE}")
    override = os.environ.get(CACHE_VARIABLE)
    cache = Path(override) if override else HERE.parents[1] / ".cache" / "nodes"
    return cache.absolute() / f"avalanchego-{match[1]}" / "avalanchego"


def build(protocol: int) -> Path:
    """The path of the node of that protocol, built first if it is not in the cache: some 100 s."""
    binary = path_of(protocol)
    binary.parent.mkdir(parents=True, exist_ok=True)
    with _locked(binary.with_name("lock")):
        if not binary.exists():
            _compile(protocol, binary)
    return binary


def _compile(protocol: int, binary: Path) -> None:
    new = binary.with_name("new")
    command = ["go", "build", "-buildvcs=false", "-trimpath", "-p", str(min(2, os.cpu_count() or 1))]
    command += ["-o", str(new), f"{MODULE}/main"]
    if shutil.which("nice"):
        command = ["nice", *command]
    done = subprocess.run(
        command,
        cwd=HERE / "nodes" / f"protocol{protocol}",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BuildError(protocol, done.stdout)
    new.replace(binary)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keeps several test processes from building the same node at once."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """The command: builds all that are not there yet."""
    if not has_go():
        print("there is no `go` in PATH: install Go 1.26 or newer", file=sys.stderr)
        return 1
    for protocol in PROTOCOLS:
        print(f"protocol {protocol}: ", end="", flush=True)
        started = time.monotonic()
        try:
            binary = build(protocol)
        except BuildError as error:
            print("failed")
            print(error.output, file=sys.stderr)
            return 1
        print(f"{binary} ({time.monotonic() - started:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
