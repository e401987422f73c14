"""`vmsdk network`: local networks of real nodes."""

from __future__ import annotations

import argparse
import importlib
import sys
from types import ModuleType

from vmsdk.errors import VMError
from vmsdk.network.errors import MissingExtra

NAME = "network"
HELP = "run a VM on a local network of real nodes"

_COMMANDS = ("start", "status", "logs", "stop", "restart", "add-node", "add-chain", "kill", "clean")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="network_command", metavar="COMMAND", required=True)
    for name in _COMMANDS:
        module = _module(name)
        command = commands.add_parser(name, help=module.HELP, description=module.__doc__)
        module.add_arguments(command)


def run(args: argparse.Namespace) -> int:
    try:
        return int(_module(args.network_command).run(args))
    except VMError as error:
        print(f"vmsdk network {args.network_command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # a shell's code for a command that Ctrl-C ended
    except BrokenPipeError:
        return 141  # a shell's code for a command whose reader went away


def _module(command: str) -> ModuleType:
    try:
        return importlib.import_module(f"{__name__}.{command.replace('-', '_')}")
    except ImportError as error:
        if error.name is None or error.name.startswith("vmsdk"):
            raise
        raise MissingExtra(error.name) from None
