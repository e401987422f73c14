"""Stop a network and remove it from the disk, with its chains and blocks."""

from __future__ import annotations

import argparse

from vmsdk.cli.network import selection
from vmsdk.network import LocalNetwork
from vmsdk.network.errors import NetworkNotFound
from vmsdk.network.state import Store, existing_networks

HELP = "remove a network from the disk"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    selection.add_arguments(parser)
    parser.add_argument("--all", action="store_true", help="remove all networks in the default place")


def run(args: argparse.Namespace) -> int:
    directories = existing_networks() if args.all else [selection.directory(args)]
    for directory in directories:
        if not Store(directory).path.exists():
            raise NetworkNotFound(directory)
        LocalNetwork(directory=directory).clean()
        print(f"removed {directory}")
    return 0
