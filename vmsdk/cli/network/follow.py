"""The logs of a network's chains as one stream of lines, told apart by the nodes' names."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from typing import TextIO

from vmsdk.network import Chain, LocalNetwork, Node
from vmsdk.network.errors import NetworkNotFound
from vmsdk.network.logs import LogFile

_COLOURS = (36, 33, 35, 32, 34)  # of terminals: cyan, yellow, magenta, green, blue


class ChainLogs:
    """What is added from now on to the logs of all chains on all nodes, also of those to come."""

    def __init__(self, network: LocalNetwork) -> None:
        """The network need not be there yet."""
        self._network = network
        self._logs: dict[Path, LogFile] = {}
        try:
            for chain, node in self._all():
                self._logs[chain.log(node)] = LogFile.at_end(chain.log(node))
        except NetworkNotFound:
            pass  # a new one: all will be read

    def print_new(self) -> None:
        """Prints what was added since the last time."""
        try:
            everything = self._all()
        except NetworkNotFound:
            return
        for chain, node in everything:
            path = chain.log(node)
            log = self._logs.setdefault(path, LogFile(path))
            print_lines(label_of(chain, node, everything), log.new_lines())

    def _all(self) -> list[tuple[Chain, Node]]:
        return [(chain, node) for chain in self._network.chains for node in self._network.nodes]


def label_of(chain: Chain, node: Node, everything: list[tuple[Chain, Node]]) -> str:
    """What tells the lines of one log from those of the others; nothing, if there is only one."""
    several_nodes = len({each.name for _, each in everything}) > 1
    several_chains = len({each.name for each, _ in everything}) > 1
    return " ".join([node.name] * several_nodes + [chain.name] * several_chains)


def print_lines(label: str, lines: list[str], out: TextIO | None = None) -> None:
    """Prints lines as they are, after the label, to standard output or `out`."""
    out = out or sys.stdout
    prefix = _prefix(label, out)
    for line in lines:
        out.write(f"{prefix}{line}\n")
    if lines:
        out.flush()


def _prefix(label: str, out: TextIO) -> str:
    if not label:
        return ""
    if not out.isatty():
        return f"{label}: "
    colour = _COLOURS[zlib.crc32(label.encode()) % len(_COLOURS)]
    return f"\033[{colour}m{label}\033[0m: "
