"""Builds the nodes that the tests run, from AvalancheGo's published Go module: `python -m
tests.network.build`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.gobuild import BuildError, build_all, go_build, locked

HERE = Path(__file__).resolve().parent
CACHE_VARIABLE = "VMSDK_NODE_CACHE"
MODULE = "github.com/ava-labs/avalanchego"

PROTOCOLS = (43, 45)
"""For each there is a Go module in `nodes/`, which pins the node's version and the checksums of all
that it is built from.
"""


def path_of(protocol: int) -> Path:
    """Where the node of that protocol is, or will be: `.cache/nodes/`, or where `VMSDK_NODE_CACHE`
    says.
    """
    module = (HERE / "nodes" / f"protocol{protocol}" / "go.mod").read_text(encoding="utf-8")
    match = re.search(rf"{re.escape(MODULE)} (v\S+)", module)
    if match is None:
        raise BuildError(f"the node of protocol {protocol}", f"its go.mod does not require {MODULE}")
    override = os.environ.get(CACHE_VARIABLE)
    cache = Path(override) if override else HERE.parents[1] / ".cache" / "nodes"
    return cache.absolute() / f"avalanchego-{match[1]}" / "avalanchego"


def build(protocol: int, progress: Callable[[], object] | None = None) -> Path:
    """Return the path of the node of that protocol, built first if it isn't cached: some 100 s."""
    binary = path_of(protocol)
    binary.parent.mkdir(parents=True, exist_ok=True)
    with locked(binary.with_name("lock")):
        if not binary.exists():
            new = binary.with_name("new")
            module = HERE / "nodes" / f"protocol{protocol}"
            go_build(f"the node of protocol {protocol}", ["-o", str(new), f"{MODULE}/main"], module, progress)
            new.replace(binary)
    return binary


def main() -> int:
    """Build every node that isn't cached yet."""
    return build_all([(f"node of protocol {protocol}", partial(build, protocol)) for protocol in PROTOCOLS])


if __name__ == "__main__":
    sys.exit(main())
