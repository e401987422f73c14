"""`vmsdk version`: the version of vmsdk or of a node, and whether they speak the same protocol."""

from __future__ import annotations

import argparse
import platform

from vmsdk._version import __version__
from vmsdk.cli.arguments import filled_node
from vmsdk.install.installation import ask_node
from vmsdk.protocol import NEWEST, PROTOCOLS, RANGE
from vmsdk.runtime.release import Release

NAME = "version"
HELP = "show the version of vmsdk, or of a node, and the protocols they speak"
DESCRIPTION = """\
Print the version of vmsdk and the plugin protocols that it speaks; with --node, those of the node, with exit
status 1 if vmsdk does not speak the node's protocol.
"""

_UNSUPPORTED_STATUS = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--node", type=filled_node, metavar="PATH", help="the metalgo or avalanchego executable to ask"
    )


def run(args: argparse.Namespace) -> int:
    if args.node is None:
        print(f"vmsdk {__version__}, protocols {RANGE}, Python {platform.python_version()}")
        return 0
    release = ask_node(args.node)
    print(f"{release.name} {release.version}, protocol {release.protocol}: {_verdict(release)}")
    return 0 if release.protocol in PROTOCOLS else _UNSUPPORTED_STATUS


def _verdict(release: Release) -> str:
    if release.protocol in PROTOCOLS:
        return f"vmsdk {__version__} speaks it"
    spoken = f"vmsdk {__version__} does not speak it, only {RANGE}"
    if release.protocol > NEWEST:
        return f"{spoken}: pip install --upgrade vmsdk"
    return f"{spoken}: upgrade the node"
