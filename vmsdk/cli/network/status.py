"""`vmsdk network status`, and how a network is shown."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vmsdk.cli.network import selection
from vmsdk.network import Chain, LocalNetwork
from vmsdk.network.state import existing_networks, networks_dir

_STYLES = {"running": "green", "paused": "yellow", "stopped": "dim", "dead": "bold red"}
_PIPE_COLUMNS = 400  # lines stay whole in a pipe


def add_commands(commands: Any) -> None:
    parser = selection.add_command(
        commands,
        "status",
        run,
        "show a network's nodes, chains and files",
        "If there are several networks, it shows a line for each.",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list of networks, for programs")


def run(args: argparse.Namespace) -> int:
    named = selection.named_directory(args)
    directories = [named] if named is not None else existing_networks()
    if args.json:
        print(json.dumps([_describe(LocalNetwork.open(directory)) for directory in directories], indent=2))
    elif len(directories) == 1:
        show_network(LocalNetwork.open(directories[0]), console())
    elif directories:
        _show_networks(directories, console())
    else:
        print(f"there is no network in {networks_dir()}: vmsdk network start creates one")
    return 0


def console() -> Console:
    """Standard output. If it isn't a terminal, lines are not wrapped."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)


def show_network(network: LocalNetwork, out: Console) -> None:
    """Print the nodes as a table, then the chains, and where the data and logs are."""
    record = network.record
    nodes = _table("node", "status", "node ID", "API")
    for node in network.nodes:
        status = Text(node.status, style=_STYLES[node.status])
        nodes.add_row(node.name, status, node.record.node_id, node.uri if node.record.http_port else "")
    out.print(f"{record.name}: {record.version}, protocol {record.protocol}", style="bold")
    out.print(nodes)
    for chain in network.chains:
        out.print()
        facts = [("chain", chain.name), ("chain ID", str(chain.id)), ("VM ID", str(chain.vm_id))]
        facts.append(("made from", chain.target))
        urls = [("URL" if i == 0 else "", chain.url(node)) for i, node in enumerate(network.nodes)]
        logs = [("log" if i == 0 else "", str(chain.log(node))) for i, node in enumerate(network.nodes)]
        _show_facts([*facts, *urls, *logs], out)
        for name, reason in _failures(network, chain).items():
            out.print(Text(f"failed on {name}: {reason}", style="bold red"))
    out.print()
    _show_facts([("data", str(network.directory))], out)


def _show_networks(directories: Sequence[Path], out: Console) -> None:
    table = _table("network", "nodes", "chains", "version", "data")
    for directory in directories:
        network = LocalNetwork.open(directory)
        record = network.record
        running = sum(node.status == "running" for node in network.nodes)
        chains = ", ".join(
            f"{chain.name} (failed)" if _failures(network, chain) else chain.name for chain in network.chains
        )
        table.add_row(
            record.name, f"{running} of {len(record.nodes)} run", chains, record.version, str(directory)
        )
    out.print(table)


def _failures(network: LocalNetwork, chain: Chain) -> dict[str, str]:
    """Why the chain has stopped, by the names of the nodes that run without it."""
    failures = {node.name: chain.failure(node) for node in network.nodes if node.status == "running"}
    return {name: failure.reason for name, failure in failures.items() if failure is not None}


def _describe(network: LocalNetwork) -> dict[str, Any]:
    record = network.record
    return {
        "name": record.name,
        "directory": str(network.directory),
        "version": record.version,
        "protocol": record.protocol,
        "nodes": [
            {
                "name": node.name,
                "status": node.status,
                "pid": node.record.pid,
                "nodeID": node.record.node_id,
                "uri": node.uri,
                "log": str(node.log),
            }
            for node in network.nodes
        ],
        "chains": [
            {
                "name": chain.name,
                "chainID": str(chain.id),
                "vmID": str(chain.vm_id),
                "target": chain.target,
                "failures": _failures(network, chain),
                "urls": [chain.url(node) for node in network.nodes],
                "logs": [str(chain.log(node)) for node in network.nodes],
            }
            for chain in network.chains
        ],
    }


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, padding=(0, 2, 0, 0), header_style="bold")


def _show_facts(facts: list[tuple[str, str]], out: Console) -> None:
    width = max(len(label) for label, _ in facts) + 2
    for label, value in facts:
        out.print(Text(label.ljust(width), style="bold") + Text(value))
