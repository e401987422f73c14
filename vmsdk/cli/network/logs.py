"""Show the last lines of a chain's log, or of another log of the nodes."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from vmsdk.cli.network import selection
from vmsdk.cli.network.follow import print_lines
from vmsdk.network import Chain, LocalNetwork, Node
from vmsdk.network.logs import LogFile

HELP = "show a chain's log"

_POLL_S = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", nargs="?", metavar="NODE", help="the node (default: all)")
    parser.add_argument(
        "--log",
        choices=("chain", "node", "plugins"),
        default="chain",
        help="the chain's log (the default), the node's own, or that of the plugins' registration",
    )
    parser.add_argument("--chain", metavar="NAME", help="the chain (default: the first)")
    parser.add_argument(
        "-n",
        "--lines",
        type=int,
        default=50,
        metavar="N",
        help="how many lines of each log (default: %(default)s)",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is added, until Ctrl-C")
    selection.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    network = LocalNetwork.open(selection.directory(args))
    nodes = [network.node(args.node)] if args.node else network.nodes
    chain = _chain(network, args)
    readers = []
    for node in nodes:
        reader, lines = LogFile.last_lines(_path(node, chain, args.log), args.lines)
        label = node.name if len(nodes) > 1 else ""
        print_lines(label, lines)
        readers.append((label, reader))
    while args.follow:
        for label, reader in readers:
            print_lines(label, reader.new_lines())
        time.sleep(_POLL_S)
    return 0


def _chain(network: LocalNetwork, args: argparse.Namespace) -> Chain | None:
    if args.log != "chain":
        return None
    return network.find_chain(args.chain) if args.chain else network.chain


def _path(node: Node, chain: Chain | None, log: str) -> Path:
    if chain is not None:
        return chain.log(node)
    return node.log if log == "node" else node.plugin_log
