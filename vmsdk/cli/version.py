"""`vmsdk version`: what this vmsdk is, what a node is, and whether they understand each other."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

from vmsdk._version import __version__
from vmsdk.install import ask_node
from vmsdk.protocol import NEWEST, OLDEST, PROTOCOLS
from vmsdk.runtime.release import Release

NAME = "version"
HELP = "show the version of vmsdk, or of a node, and the protocols they speak"
DESCRIPTION = """\
Without --node, the version of vmsdk and the plugin protocols that it speaks. With it, those of the node,
and exit status 1 if this vmsdk does not speak the node's.
"""

_NOT_SPOKEN_STATUS = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "--node", type=Path, metavar="PATH", help="the metalgo or avalanchego executable, which is asked"
    )


def run(args: argparse.Namespace) -> int:
    """Print it. The exit status."""
    if args.node is None:
        print(f"vmsdk {__version__}, protocols {OLDEST} to {NEWEST}, Python {platform.python_version()}")
        return 0
    release = ask_node(args.node)
    print(f"{release.name} {release.version}, protocol {release.protocol}: {_verdict(release)}")
    return 0 if release.protocol in PROTOCOLS else _NOT_SPOKEN_STATUS


def _verdict(release: Release) -> str:
    if release.protocol in PROTOCOLS:
        return f"vmsdk {__version__} speaks it"
    spoken = f"vmsdk {__version__} does not speak it, only {OLDEST} to {NEWEST}"
    if release.protocol > NEWEST:
        return f"{spoken}: pip install --upgrade vmsdk"
    return f"{spoken}: upgrade the node"
