"""Make another chain on a running network. Its nodes are restarted for it."""

from __future__ import annotations

import argparse

from vmsdk.cli.network import selection
from vmsdk.cli.network.start import add_chain_arguments, new_chain

HELP = "make another chain on a running network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target", metavar="TARGET", help="the VM: vm.py, vm.py:Class, module:Class, or a plugin's executable"
    )
    parser.add_argument("--chain", default="", metavar="NAME", help="the chain's name (default: the VM's)")
    selection.add_arguments(parser)
    add_chain_arguments(parser)


def run(args: argparse.Namespace) -> int:
    network = selection.network(args)
    chain = network.add_chain(new_chain(args, args.chain))
    print(f"{chain.name}  {chain.id}")
    for node in network.nodes:
        print(chain.url(node))
    return 0
