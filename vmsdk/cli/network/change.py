"""The commands that change a network: stop, restart, add-node, add-chain, kill and clean."""

from __future__ import annotations

import argparse
from typing import Any

from vmsdk.cli.arguments import filled
from vmsdk.cli.network import selection
from vmsdk.cli.network.start import TARGET_HELP, add_chain_arguments, new_chain
from vmsdk.network import Chain, LocalNetwork, Node
from vmsdk.network.errors import NetworkNotFound
from vmsdk.network.state import Store, existing_networks


def add_commands(commands: Any) -> None:
    more = "Everything stays on the disk; `start` brings it back."
    selection.add_command(commands, "stop", _stop, "stop a network", more)
    restart = selection.add_command(
        commands,
        "restart",
        _restart,
        "restart a network, or one of its nodes",
        "Identities, addresses and blocks stay, and changed code of the VM is loaded. "
        "Starts nodes that were killed.",
    )
    restart.add_argument("node", nargs="?", metavar="NODE", help="the node (default: all)")
    more = "Returns when it has bootstrapped all chains."
    add_node = selection.add_command(commands, "add-node", _add_node, "add a node", more)
    add_node.add_argument(
        "--plugin",
        type=filled,
        metavar="PATH",
        help="an executable that runs the first chain's VM on this node",
    )
    more = "The nodes are restarted for it."
    add_chain = selection.add_command(commands, "add-chain", _add_chain, "create another chain", more)
    add_chain.add_argument("target", type=filled, metavar="TARGET", help=TARGET_HELP)
    add_chain.add_argument("--chain", default="", metavar="NAME", help="the chain's name (default: the VM's)")
    add_chain_arguments(add_chain)
    summary, more = "kill a node at once, as a power cut would", "`restart NODE` brings it back."
    kill = selection.add_command(commands, "kill", _kill, summary, more)
    kill.add_argument("node", metavar="NODE", help="the node's name or ID")
    more = "Stops it and deletes its chains and blocks."
    clean = selection.add_command(commands, "clean", _clean, "remove a network", more)
    clean.add_argument("--all", action="store_true", help="remove all networks in the default directory")


def _stop(args: argparse.Namespace) -> int:
    network = selection.network(args)
    if not network.running:
        print(f"the network {network.directory.name} is not running")
    network.stop()
    return 0


def _restart(args: argparse.Namespace) -> int:
    network = selection.network(args)
    if args.node:
        network.node(args.node).restart()
    else:
        network.restart()
    return 0


def _add_node(args: argparse.Namespace) -> int:
    network = selection.network(args)
    node = network.add_node(plugin=args.plugin)
    print(f"{node.name}  {node.node_id}  {node.uri}")
    return _print_urls(network.chains, [node])


def _add_chain(args: argparse.Namespace) -> int:
    network = selection.network(args)
    chain = network.add_chain(new_chain(args, args.chain))
    print(f"{chain.name}  {chain.id}")
    return _print_urls([chain], network.nodes)


def _print_urls(chains: list[Chain], nodes: list[Node]) -> int:
    for chain in chains:
        for node in nodes:
            print(chain.url(node))
    return 0


def _kill(args: argparse.Namespace) -> int:
    node = selection.network(args).node(args.node)
    ran = node.status != "stopped"
    node.kill()
    print(f"{node.name} was killed" if ran else f"{node.name} is not running")
    return 0


def _clean(args: argparse.Namespace) -> int:
    for directory in existing_networks() if args.all else [selection.directory(args)]:
        if not Store(directory).path.exists():
            raise NetworkNotFound(directory)
        LocalNetwork(directory=directory).clean()
        print(f"removed {directory}")
    return 0
