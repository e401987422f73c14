"""Start a local network with a VM's chain on it, and follow the chain's log until Ctrl-C stops all in order.

A network that was stopped is started again with its chains, identities, addresses and blocks.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from vmsdk.cli.dev.codewatch import CodeWatch
from vmsdk.cli.network import selection
from vmsdk.cli.network.follow import Source, print_new_lines
from vmsdk.cli.network.tables import console, show_network
from vmsdk.errors import VMError
from vmsdk.network import LocalNetwork, NewChain
from vmsdk.network.errors import InvalidArgument, NetworkBusy, NetworkNotFound
from vmsdk.network.launch import READY_TIMEOUT_S
from vmsdk.network.logs import LogFile
from vmsdk.network.plugin import absolute, default_name
from vmsdk.network.state import Store, networks_dir
from vmsdk.target import find

HELP = "start a network, a new one or one that was stopped"

_POLL_S = 0.05


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
    out = console()
    with _stopping_on_sigterm():
        network = _network(args)
        sources = _existing_logs(network)
        _start(network, args.timeout)
        show_network(network, out)
        if args.detach:
            out.print(f"\nvmsdk network stop{_selector(args, network)} stops it")
            return 0
        try:
            return _follow(network, sources or _logs(network), out, args)
        except KeyboardInterrupt:
            return 0
        finally:
            _stop(network)


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
        nodes=args.nodes or 1,
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
        raise InvalidArgument(f"the network {record.name} runs already: vmsdk network status shows it")
    if args.nodes not in (None, len(record.nodes)):
        raise InvalidArgument(
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
        raise InvalidArgument(
            f"the network {record.name} was made from {chain.target}: give another --name for {args.target}, "
            f"or --name {record.name} if it is the same VM at another place"
        )
    if args.port not in (None, record.nodes[0].http_port):
        raise InvalidArgument(f"the network {record.name} has its port {record.nodes[0].http_port} already")


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


def _existing_logs(network: LocalNetwork) -> list[Source]:
    """Where the chains' logs end before the start, so that what follows is what this start adds."""
    if not Store(network.directory).path.exists():
        return []
    return _logs(network, LogFile.at_end)


def _logs(network: LocalNetwork, read: Callable[[Path], LogFile] = LogFile) -> list[Source]:
    nodes = network.nodes
    return [
        Source(node.name if len(nodes) > 1 else "", read(chain.log(node)))
        for chain in network.chains
        for node in nodes
    ]


def _follow(network: LocalNetwork, sources: list[Source], out: Console, args: argparse.Namespace) -> int:
    """Prints the chains' logs and restarts for changed code, until the network is stopped from elsewhere or has died."""
    hint = "Ctrl-C stops the network" + (", a change of the code restarts it" if args.reload else "")
    out.print(f"\n{hint}. The chain's log:")
    sys.stdout.flush()
    reported: set[str] = set()
    with _watching([chain.target for chain in network.chains] if args.reload else []) as changed:
        while True:
            print_new_lines(sources)
            if changed.is_set():
                changed.clear()
                _reload(network, args.timeout)
            if not _report_deaths(network, reported):
                return 1 if reported else 0
            time.sleep(_POLL_S)


@contextmanager
def _watching(targets: list[str]) -> Iterator[threading.Event]:
    """An event that is set when the code of one of the targets changes."""
    changed = threading.Event()
    watches = [CodeWatch(find(target), lambda _: changed.set(), _cannot_watch) for target in targets]
    for watch in watches:
        watch.start()
    try:
        yield changed
    finally:
        for watch in watches:
            watch.stop()


def _cannot_watch(reason: str) -> None:
    print(f"vmsdk network: {reason}", file=sys.stderr, flush=True)


def _reload(network: LocalNetwork, timeout_s: float) -> None:
    began = time.monotonic()
    try:
        network.restart(timeout_s)
    except VMError as error:
        print(
            f"vmsdk network: {error}\nvmsdk network: waiting for the next change of the code",
            file=sys.stderr,
            flush=True,
        )
    else:
        print(
            f"restarted with the changed code in {time.monotonic() - began:.1f} s",
            file=sys.stderr,
            flush=True,
        )


def _report_deaths(network: LocalNetwork, reported: set[str]) -> bool:
    """Tells of nodes that ended without being asked to; says whether any node still runs."""
    try:
        statuses = {node.name: node.status for node in network.nodes}
        died = any(status == "dead" and name not in reported for name, status in statuses.items())
        if not died and not {"running", "paused"}.isdisjoint(statuses.values()):
            return True
        with network.exclusively():  # another command may be stopping or restarting nodes
            for node in network.nodes:
                if node.status == "dead" and node.name not in reported:
                    reported.add(node.name)
                    print(f"vmsdk network: {node.died()}", file=sys.stderr, flush=True)
            return network.running
    except NetworkBusy:
        return True
    except NetworkNotFound:
        return False  # removed from elsewhere


def _stop(network: LocalNetwork) -> None:
    try:
        network.stop()
    except NetworkNotFound:
        pass  # removed from elsewhere
    except KeyboardInterrupt:
        print("killing the nodes ...", file=sys.stderr, flush=True)
        network.kill()
        raise


@contextmanager
def _stopping_on_sigterm() -> Iterator[None]:
    """A SIGTERM ends the command as Ctrl-C does: the nodes are stopped in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _read(what: str, path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"the {what} {path} cannot be read: {error.strerror}") from error


def _flag(text: str) -> tuple[str, str]:
    name, separator, value = text.removeprefix("--").partition("=")
    if not separator or not name:
        raise InvalidArgument(f"{text!r} is not a flag of a node: give NAME=VALUE, such as log-level=debug")
    return name, value


def _selector(args: argparse.Namespace, network: LocalNetwork) -> str:
    return (
        f" --data-dir {network.directory}"
        if args.data_dir is not None
        else f" --name {network.directory.name}"
    )
