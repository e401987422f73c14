"""End a node at once, as a power cut would. `vmsdk network restart NODE` brings it back."""

from __future__ import annotations

import argparse

from vmsdk.cli.network import selection

HELP = "end a node at once, as a power cut would"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", help="the node's name or ID")
    selection.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    node = selection.network(args).node(args.node)
    ran = node.status != "stopped"
    node.kill()
    print(f"{node.name} was killed" if ran else f"{node.name} does not run")
    return 0
