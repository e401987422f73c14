"""Show a network's nodes, chains and places, or, where there are several networks, a line for each."""

from __future__ import annotations

import argparse
import json
from typing import Any

from vmsdk.cli.network import selection
from vmsdk.cli.network.tables import console, show_network, show_networks
from vmsdk.network import LocalNetwork
from vmsdk.network.state import existing_networks, networks_dir

HELP = "show the networks, or one of them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    selection.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs: a list of networks")


def run(args: argparse.Namespace) -> int:
    named = selection.named_directory(args)
    directories = [named] if named is not None else existing_networks()
    if args.json:
        print(json.dumps([_describe(LocalNetwork.open(directory)) for directory in directories], indent=2))
    elif len(directories) == 1:
        show_network(LocalNetwork.open(directories[0]), console())
    elif directories:
        show_networks(directories, console())
    else:
        print(f"there is no network in {networks_dir()}: vmsdk network start makes one")
    return 0


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
                "urls": [chain.url(node) for node in network.nodes],
                "logs": [str(chain.log(node)) for node in network.nodes],
            }
            for chain in network.chains
        ],
    }
