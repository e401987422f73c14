"""`vmsdk network logs`, and the logs of several nodes and chains as one stream of lines."""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from pathlib import Path
from typing import Any

from vmsdk.cli.network import selection
from vmsdk.network import Chain, LocalNetwork, Node
from vmsdk.network.errors import NetworkNotFound
from vmsdk.network.logs import LogFile

_POLL_S = 0.05
_COLOURS = (36, 33, 35, 32, 34)  # of terminals: cyan, yellow, magenta, green, blue


def add_commands(commands: Any) -> None:
    parser = selection.add_command(commands, "logs", run, "show the last lines of a chain's log")
    parser.add_argument("node", nargs="?", metavar="NODE", help="the node (default: all)")
    parser.add_argument(
        "--log",
        choices=("chain", "node", "plugins"),
        default="chain",
        help="the chain's log (default), the node's own, or that of the plugins' registration",
    )
    parser.add_argument("--chain", metavar="NAME", help="the chain (default: the first)")
    parser.add_argument(
        "-n",
        "--lines",
        type=_count,
        default=50,
        metavar="N",
        help="how many lines of each log (default: %(default)s)",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="keep printing new lines, until Ctrl-C")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a number of lines: give 0 or more")
    return int(text)


def run(args: argparse.Namespace) -> int:
    network = LocalNetwork.open(selection.directory(args))
    nodes = [network.node(args.node)] if args.node else network.nodes
    chain = None
    if args.log == "chain":
        chain = network.find_chain(args.chain) if args.chain else network.chain
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


class ChainLogs:
    """New lines in the logs of all chains on all nodes, including later ones."""

    def __init__(self, network: LocalNetwork) -> None:
        """The network need not exist yet."""
        self._network = network
        self._logs: dict[Path, LogFile] = {}
        try:
            for chain, node in self._all():
                self._logs[chain.log(node)] = LogFile.at_end(chain.log(node))
        except NetworkNotFound:
            pass  # a new network: all its lines are new

    def print_new(self) -> None:
        """Print the lines since the last call."""
        try:
            everything = self._all()
        except NetworkNotFound:
            return
        for chain, node in everything:
            path = chain.log(node)
            log = self._logs.setdefault(path, LogFile(path))
            print_lines(_label_of(chain, node, everything), log.new_lines())

    def _all(self) -> list[tuple[Chain, Node]]:
        return [(chain, node) for chain in self._network.chains for node in self._network.nodes]


def print_lines(label: str, lines: list[str]) -> None:
    """Print each line after the label."""
    prefix = _prefix(label)
    for line in lines:
        sys.stdout.write(f"{prefix}{line}\n")
    if lines:
        sys.stdout.flush()


def _label_of(chain: Chain, node: Node, everything: list[tuple[Chain, Node]]) -> str:
    """The label that distinguishes the lines of a log; empty if there is only one."""
    several_nodes = len({each.name for _, each in everything}) > 1
    several_chains = len({each.name for each, _ in everything}) > 1
    return " ".join([node.name] * several_nodes + [chain.name] * several_chains)


def _prefix(label: str) -> str:
    if not label:
        return ""
    if not sys.stdout.isatty():
        return f"{label}: "
    colour = _COLOURS[zlib.crc32(label.encode()) % len(_COLOURS)]
    return f"\033[{colour}m{label}\033[0m: "


def _path(node: Node, chain: Chain | None, log: str) -> Path:
    if chain is not None:
        return chain.log(node)
    return node.log if log == "node" else node.plugin_log
