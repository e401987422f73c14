"""Time from the command `vmsdk network start` to a chain that accepts requests: `python -m
benchmarks.network_start --node PATH`.

The floor: as many of the same nodes without a chain, until the last one's P-chain accepts
requests.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.contenders import ROOT
from benchmarks.table import compare, markdown
from vmsdk.network import LocalNetwork, NodeBinary

TARGET = f"{ROOT / 'examples' / 'timestamp' / 'timestampvm.py'}:TimestampVM"
GOALS_S = {1: 4.0, 5: 10.0}
"""Seconds that still feel quick, by the number of nodes, on two cores."""


def main() -> int:
    """The command: prints a table; its exit status is 1 if a median misses its goal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.network_start", description=__doc__)
    parser.add_argument("--node", action="append", metavar="PATH", help="a node's binary; may be repeated")
    parser.add_argument(
        "--runs", type=int, default=5, help="how often each is measured (default: %(default)s)"
    )
    args = parser.parse_args()
    rows, missed = [], False
    for node in map(NodeBinary.find, args.node or [None]):
        for count, goal_s in GOALS_S.items():
            name = f"{node.version}, {count} node{'s' if count > 1 else ''}: command to chain"
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            chain = partial(_seconds, partial(_start_chain, node, count))
            nodes = partial(_seconds, partial(_start_nodes, node, count))
            row = compare(name, "s", chain, nodes, goal=f"under {goal_s:g} s", rounds=args.runs)
            missed |= row.ours >= goal_s
            rows.append(row)
    print(markdown(rows))
    return int(missed)


def _seconds(start: Callable[[Path], None]) -> float:
    """How long `start` takes in a directory that is new, and removed afterwards."""
    with tempfile.TemporaryDirectory() as parent:
        directory = Path(parent) / "network"
        began = time.perf_counter()
        try:
            start(directory)
            return time.perf_counter() - began
        finally:
            LocalNetwork(directory=directory).clean()


def _start_chain(node: NodeBinary, count: int, directory: Path) -> None:
    """As a user does it, up to the VM's first response on the last node."""
    command = [
        sys.executable,
        "-c",
        "import sys; from vmsdk.cli import main; sys.exit(main())",
        "network",
        "start",
    ]
    command += [
        TARGET,
        "--node",
        str(node.path),
        "--nodes",
        str(count),
        "--data-dir",
        str(directory),
        "--detach",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    LocalNetwork.open(directory).client(count - 1).call("timestampvm.lastAccepted")


def _start_nodes(node: NodeBinary, count: int, directory: Path) -> None:
    LocalNetwork(node=node.path, nodes=count, directory=directory).start()


if __name__ == "__main__":
    sys.exit(main())
