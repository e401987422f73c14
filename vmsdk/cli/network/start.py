"""`vmsdk network start`."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from rich.console import Console

from vmsdk.cli.arguments import content, filled, filled_path
from vmsdk.cli.network import selection
from vmsdk.cli.network.foreground import Foreground, stopping_on_sigterm
from vmsdk.cli.network.logs import ChainLogs
from vmsdk.cli.network.status import console, show_network
from vmsdk.network import LocalNetwork, NewChain
from vmsdk.network.chain import absolute, default_name, url_name
from vmsdk.network.errors import NetworkError, NetworkNotFound
from vmsdk.network.local import executable
from vmsdk.network.node import READY_TIMEOUT_S
from vmsdk.network.state import Store, networks_dir
from vmsdk.target import find

_WEIGHT = 100
"""The weight of each validator."""
_MAX_TIMEOUT_S = 86_400
TARGET_HELP = "the VM: vm.py, vm.py:Class, module:Class, or a plugin's executable"


def add_commands(commands: Any) -> None:
    parser = selection.add_command(
        commands,
        "start",
        run,
        "start a network with a VM's chain on it",
        "The command shows the chain's log until Ctrl-C stops the nodes. "
        "A network that was stopped is started again with its chains, identities, addresses and blocks.",
    )
    parser.add_argument("target", nargs="?", type=filled, metavar="TARGET", help=TARGET_HELP)
    parser.add_argument(
        "--plugin",
        type=filled,
        metavar="PATH",
        help="a plugin's executable, in any language, instead of TARGET",
    )
    parser.add_argument(
        "--node",
        type=filled,
        metavar="PATH",
        help="the metalgo or avalanchego binary (default: $VMSDK_NODE, or one on the PATH)",
    )
    parser.add_argument(
        "--nodes", type=int, metavar="N", help="how many nodes a new network has (default: 1)"
    )
    add_chain_arguments(parser)
    parser.add_argument(
        "--node-plugin",
        action="append",
        default=[],
        metavar="N=PATH",
        help="an executable that runs the VM on node N of a new network, instead of TARGET; may be repeated",
    )
    parser.add_argument(
        "--validators",
        action="store_true",
        help="make the nodes of a new network validators of each chain, so that they sign warp messages",
    )
    parser.add_argument(
        "--port",
        type=int,
        help="the first node's API port; its staking port and further nodes follow (default: free ones)",
    )
    parser.add_argument(
        "--log-level",
        choices=("verbo", "debug", "info", "warn", "error"),
        help="the log level of the nodes and the VM (default: info)",
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
        type=_seconds,
        default=READY_TIMEOUT_S,
        metavar="S",
        help="how many seconds to wait for nodes and chains (default: %(default)g)",
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--detach", action="store_true", help="return when the chain is ready; nodes keep running"
    )
    mode.add_argument("--reload", action="store_true", help="restart the nodes when the VM's code changes")


def add_chain_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vm-name",
        default="",
        metavar="NAME",
        help="the VM's name, which determines its ID (default: the class's)",
    )
    parser.add_argument(
        "--genesis", type=filled_path, metavar="FILE", help="the chain's genesis (default: empty)"
    )
    parser.add_argument(
        "--config", type=filled_path, metavar="FILE", help="the chain's configuration, for `initialize`"
    )
    parser.add_argument(
        "--upgrade", type=filled_path, metavar="FILE", help="the chain's upgrades, for `initialize`"
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _MAX_TIMEOUT_S:  # false for nan, too
        raise argparse.ArgumentTypeError(
            f"{text} is not a time: give a number of seconds above 0, at most {_MAX_TIMEOUT_S}"
        )
    return seconds


def new_chain(args: argparse.Namespace, name: str) -> NewChain:
    genesis = content(args.genesis)
    config, upgrade = (None if path is None else content(path) for path in (args.config, args.upgrade))
    return NewChain(args.target, name, args.vm_name, genesis, config, upgrade)


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
    if args.plugin is not None:
        if args.target is not None:
            raise NetworkError(f"both {args.target} and --plugin {args.plugin} name a VM: give one of them")
        args.target = executable(args.plugin)
    if args.target is None:
        where = where or selection.directory(args)
        Store(where).load()
        chains = []
    else:
        args.vm_name = args.vm_name or default_name(find(args.target))
        name = args.name or url_name(args.vm_name)
        where = where or networks_dir() / name
        chains = [new_chain(args, name)]
    network = LocalNetwork(
        *chains,
        node=args.node,
        nodes=1 if args.nodes is None else args.nodes,
        weights=[_WEIGHT] * (args.nodes or 1) if args.validators else (),
        directory=where,
        http_port=args.port,
        flags=_flags(args),
        node_plugins=_node_plugins(args.node_plugin),
    )
    _refuse_changes(network, args)
    return network


def _refuse_changes(network: LocalNetwork, args: argparse.Namespace) -> None:
    """Raise `NetworkError` for options that only a new network takes, if it exists."""
    try:
        record = network.record
    except NetworkNotFound:
        return
    if network.running:
        raise NetworkError(f"the network {record.name} is running: vmsdk network status shows it")
    if args.nodes not in (None, len(record.nodes)):
        raise NetworkError(
            f"the network {record.name} has {len(record.nodes)} nodes: vmsdk network add-node adds one"
        )
    chain = next((chain for chain in record.chains if chain.name == record.name), None)
    is_named = args.name is not None or args.data_dir is not None
    if args.target and chain and not is_named and chain.target != absolute(find(args.target)):
        raise NetworkError(
            f"the network {record.name} was created from {chain.target}: "
            f"choose another --name for {args.target}, "
            f"or --name {record.name} if it is the same VM in a different place"
        )
    if args.port not in (None, record.nodes[0].http_port):
        raise NetworkError(
            f"the network {record.name} has the port {record.nodes[0].http_port}, which can't be changed"
        )
    for option in ("node_plugin", "validators"):
        if getattr(args, option):
            name = f"--{option.replace('_', '-')}"
            raise NetworkError(f"only a new network takes {name}, and {record.name} exists")


def _start(network: LocalNetwork, timeout_s: float) -> None:
    progress = Console(stderr=True)
    began = time.monotonic()
    with progress.status("starting") as status:
        plain = not progress.is_terminal

        def show(text: str) -> None:
            status.update(text)
            if plain:
                print(f"{text} ...", file=sys.stderr, flush=True)

        network.progress = show
        network.start(timeout_s)
    print(f"ready after {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)


def _flags(args: argparse.Namespace) -> dict[str, str]:
    level = {"log-level": str(args.log_level)} if args.log_level else {}
    return dict([*level.items(), *(_flag(text) for text in args.flag)])


def _node_plugins(texts: list[str]) -> dict[int, str]:
    plugins: dict[int, str] = {}
    for text in texts:
        number, _, path = text.partition("=")
        if not number.isdecimal() or not path:
            raise NetworkError(f"{text!r} is not a node's plugin: give N=PATH, such as 2=build/timestampvm")
        if int(number) in plugins:
            raise NetworkError(f"node {int(number)} gets two plugins: {plugins[int(number)]} and {path}")
        plugins[int(number)] = path
    return plugins


def _flag(text: str) -> tuple[str, str]:
    name, separator, value = text.removeprefix("--").partition("=")
    if not separator or not name:
        raise NetworkError(f"{text!r} is not a flag of a node: give NAME=VALUE, such as log-level=debug")
    return name, value


def _selector(args: argparse.Namespace, network: LocalNetwork) -> str:
    if args.data_dir is not None:
        return f" --data-dir {network.directory}"
    return f" --name {network.directory.name}"
