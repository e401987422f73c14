"""Stop a network's nodes in order. Everything stays on the disk, and the next start brings it back."""

from __future__ import annotations

import argparse

from vmsdk.cli.network import selection

HELP = "stop a network; the next start brings it back"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    selection.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    network = selection.network(args)
    if not network.running:
        print(f"the network {network.directory.name} does not run")
    network.stop()
    return 0
