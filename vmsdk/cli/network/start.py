"""Start a local network with a VM's chain on it, and follow the chain's log until Ctrl-C stops all in order.

A network that was stopped is started again with its chains, identities, addresses and blocks.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

from vmsdk.cli.network import selection
from vmsdk.cli.network.follow import ChainLogs
from vmsdk.cli.network.foreground import Foreground, stopping_on_sigterm
from vmsdk.cli.network.tables import console, show_network
from vmsdk.network import LocalNetwork, NewChain
from vmsdk.network.chain import absolute, default_name
from vmsdk.network.errors import NetworkError, NetworkNotFound
from vmsdk.network.node import READY_TIMEOUT_S
from vmsdk.network.state import Store, networks_dir
from vmsdk.target import find

HELP = "start a network, a new one or one that was stopped"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target",
        nargs="?",
        metavar="TARGET",
        help="the VM: vm.py, vm.py:Class, module:Class, or a plugin's executable",
    )
    parser.add_argument(
        "--node",
        metavar="PATH",
        help="the metalgo or avalanchego binary (default: $VMSDK_NODE, or one on the PATH)",
    )
    parser.add_argument(
        "--nodes", type=int, metavar="N", help="how many nodes a new network has (default: 1)"
    )
    selection.add_arguments(parser)
    add_chain_arguments(parser)
    parser.add_argument(
        "--port",
        type=int,
        help="the first node's API port; its staking port and further nodes follow (default: free ones)",
    )
    parser.add_argument(
        "--flag",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a further flag for every node; may be repeated",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=READY_TIMEOUT_S,
        metavar="S",
        help="how long to wait for nodes and chains (default: %(default)g)",
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--detach", action="store_true", help="return when the chain takes work; the network runs on"
    )
    mode.add_argument("--reload", action="store_true", help="restart the nodes when the VM's code changes")


def add_chain_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vm-name",
        default="",
        metavar="NAME",
        help="the VM's name, which gives its ID (default: the class's, in lower case)",
    )
    parser.add_argument(
        "--genesis", type=Path, metavar="FILE", help="the chain's genesis (default: an empty one)"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="the chain's configuration")
    parser.add_argument("--upgrade", type=Path, metavar="FILE", help="the chain's upgrades")


def new_chain(args: argparse.Namespace, name: str) -> NewChain:
    return NewChain(
        args.target,
        name,
        args.vm_name,
        _read("genesis", args.genesis) or b"",
        _read("config", args.config),
        _read("upgrade", args.upgrade),
    )


def run(args: argparse.Namespace) -> int:
    with stopping_on_sigterm():
        network = _network(args)
        logs = ChainLogs(network)
        _start(network, args.timeout)
        if args.detach:
            show_network(network, console())
            print(f"\nvmsdk network stop{_selector(args, network)} stops it")
            return 0
        return Foreground(network, logs, reload=args.reload, timeout_s=args.timeout).run()


def _network(args: argparse.Namespace) -> LocalNetwork:
    where = selection.named_directory(args)
    if args.target is None:
        where = where or selection.directory(args)
        Store(where).load()
        chains = []
    else:
        name = args.name or args.vm_name or default_name(find(args.target))
        where = where or networks_dir() / name
        chains = [new_chain(args, name)]
    network = LocalNetwork(
        *chains,
        node=args.node,
        nodes=1 if args.nodes is None else args.nodes,
        directory=where,
        http_port=args.port,
        flags=dict(_flag(text) for text in args.flag),
    )
    _refuse_changes(network, args)
    return network


def _refuse_changes(network: LocalNetwork, args: argparse.Namespace) -> None:
    """What only a new network can be given is an error where it would have no effect."""
    try:
        record = network.record
    except NetworkNotFound:
        return
    if network.running:
        raise NetworkError(f"the network {record.name} runs already: vmsdk network status shows it")
    if args.nodes not in (None, len(record.nodes)):
        raise NetworkError(
            f"the network {record.name} has {len(record.nodes)} nodes already: vmsdk network add-node adds one"
        )
    chain = next((chain for chain in record.chains if chain.name == record.name), None)
    is_named = args.name is not None or args.data_dir is not None
    if (
        args.target is not None
        and chain is not None
        and not is_named
        and chain.target != absolute(find(args.target))
    ):
        raise NetworkError(
            f"the network {record.name} was made from {chain.target}: give another --name for {args.target}, "
            f"or --name {record.name} if it is the same VM at another place"
        )
    if args.port not in (None, record.nodes[0].http_port):
        raise NetworkError(f"the network {record.name} has its port {record.nodes[0].http_port} already")


def _start(network: LocalNetwork, timeout_s: float) -> None:
    progress = Console(stderr=True)
    began = time.monotonic()
    with progress.status("starting") as status:
        plain = not progress.is_terminal

        def show(text: str) -> None:
            status.update(text)
            if plain:
                print(f"{text} ...", file=sys.stderr, flush=True)

        network.on_progress(show)
        network.start(timeout_s)
    print(f"ready after {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)


def _read(what: str, path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise NetworkError(f"the {what} {path} cannot be read: {error.strerror}") from error


def _flag(text: str) -> tuple[str, str]:
    name, separator, value = text.removeprefix("--").partition("=")
    if not separator or not name:
        raise NetworkError(f"{text!r} is not a flag of a node: give NAME=VALUE, such as log-level=debug")
    return name, value


def _selector(args: argparse.Namespace, network: LocalNetwork) -> str:
    return (
        f" --data-dir {network.directory}"
        if args.data_dir is not None
        else f" --name {network.directory.name}"
    )
