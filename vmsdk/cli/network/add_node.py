"""Add a node to a running network, and wait until it has bootstrapped all chains from the others."""

from __future__ import annotations

import argparse

from vmsdk.cli.network import selection

HELP = "add a node, which bootstraps from the others"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    selection.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    network = selection.network(args)
    node = network.add_node()
    print(f"{node.name}  {node.node_id}  {node.uri}")
    for chain in network.chains:
        print(chain.url(node))
    return 0
