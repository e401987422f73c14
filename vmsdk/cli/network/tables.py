"""A network, drawn for people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vmsdk.network import LocalNetwork

_STYLES = {"running": "green", "paused": "yellow", "stopped": "dim", "dead": "bold red"}
_PIPE_COLUMNS = 400  # whoever reads a pipe wants lines whole


def console() -> Console:
    """Standard output; IDs and addresses stay whole where it is not a terminal."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)


def show_network(network: LocalNetwork, out: Console) -> None:
    """Prints the nodes as a table, then the chains and the places of data and logs."""
    record = network.record
    nodes = Table("node", "status", "node ID", "API", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for node in network.nodes:
        address = node.uri if node.record.http_port else ""
        nodes.add_row(node.name, _status(node.status), node.record.node_id, address)
    out.print(f"{record.name}: {record.version}, protocol {record.protocol}", style="bold")
    out.print(nodes)
    for chain in network.chains:
        out.print()
        facts = [
            ("chain", chain.name),
            ("chain ID", str(chain.id)),
            ("VM ID", str(chain.vm_id)),
            ("made from", chain.target),
        ]
        urls = [("URL" if i == 0 else "", chain.url(node)) for i, node in enumerate(network.nodes)]
        logs = [("log" if i == 0 else "", str(chain.log(node))) for i, node in enumerate(network.nodes)]
        _show_facts([*facts, *urls, *logs], out)
    out.print()
    _show_facts([("data", str(network.directory))], out)


def show_networks(directories: Sequence[Path], out: Console) -> None:
    """Prints one line for each network."""
    table = Table(
        "network", "nodes", "chains", "version", "data", box=None, padding=(0, 2, 0, 0), header_style="bold"
    )
    for directory in directories:
        network = LocalNetwork.open(directory)
        record = network.record
        running = sum(node.status == "running" for node in network.nodes)
        chains = ", ".join(chain.name for chain in record.chains)
        table.add_row(
            record.name, f"{running} of {len(record.nodes)} run", chains, record.version, str(directory)
        )
    out.print(table)


def _show_facts(facts: list[tuple[str, str]], out: Console) -> None:
    width = max(len(label) for label, _ in facts) + 2
    for label, value in facts:
        out.print(Text(label.ljust(width), style="bold") + Text(value))


def _status(status: str) -> Text:
    return Text(status, style=_STYLES[status])
