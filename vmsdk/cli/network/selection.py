"""The subcommands' parsers, and which network a command means."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vmsdk.cli.arguments import filled_path
from vmsdk.network import LocalNetwork
from vmsdk.network.chain import check_name
from vmsdk.network.errors import NetworkError, NetworkNotFound
from vmsdk.network.state import existing_networks, networks_dir


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], summary: str, more: str = ""
) -> argparse.ArgumentParser:
    """Add a subcommand with the options that choose a network. `more` is for its --help only."""
    text = f"{summary[0].upper()}{summary[1:]}."
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=f"{text} {more}".strip()
    )
    parser.set_defaults(run_network=run)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--name", help="the network's name (default: the only network, or the only one that runs)"
    )
    which.add_argument("--data-dir", type=filled_path, metavar="DIR", help="the network's directory")
    return parser


def named_directory(args: argparse.Namespace) -> Path | None:
    """The directory that the options name, if any. Raises `NetworkError` for an impossible name."""
    if args.data_dir is not None:
        return Path(args.data_dir)
    if args.name is None:
        return None
    check_name("network", args.name)
    return networks_dir() / str(args.name)


def directory(args: argparse.Namespace) -> Path:
    """The directory that the options name; by default, that of the only (running) network.

    Raises `NetworkNotFound` if there is none, `NetworkError` if there are several.
    """
    named = named_directory(args)
    if named is not None:
        return named
    existing = existing_networks()
    if not existing:
        raise NetworkNotFound(networks_dir())
    candidates = (
        existing if len(existing) == 1 else [path for path in existing if LocalNetwork.open(path).running]
    )
    if len(candidates) != 1:
        names = ", ".join(path.name for path in candidates or existing)
        raise NetworkError(f"there are several networks ({names}): choose one with --name")
    return candidates[0]


def network(args: argparse.Namespace) -> LocalNetwork:
    """The network that the options select, which prints its progress."""
    return LocalNetwork.open(directory(args), progress=lambda text: print(f"{text} ...", flush=True))
