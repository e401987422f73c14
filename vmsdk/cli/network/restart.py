"""Restart all nodes of a network, or one: identities, addresses and blocks stay, and changed code of the VM is used. Starts nodes that were killed."""

from __future__ import annotations

import argparse

from vmsdk.cli.network import selection

HELP = "restart a network, or a node of it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", nargs="?", metavar="NODE", help="the node (default: all)")
    selection.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    network = selection.network(args)
    if args.node:
        network.node(args.node).restart()
    else:
        network.restart()
    return 0
