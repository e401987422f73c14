"""`vmsdk network`: local networks of real nodes."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from types import ModuleType

NAME = "network"
HELP = "run a VM on a local network of real nodes"
DESCRIPTION = """\
Run a VM on a local network of real nodes.

  vmsdk network start vm.py:MyVM --node ~/bin/metalgo     a node with the VM's chain; Ctrl-C stops it
  vmsdk network start vm.py:MyVM --nodes 5 --detach       five nodes, left running; `vmsdk network stop` stops them
  vmsdk network start                                     the same network again, with its chain and blocks
  vmsdk network COMMAND --help                            all that a command can do
"""

_COMMANDS = ("start", "status", "logs", "stop", "restart", "add-node", "add-chain", "kill", "clean")

# As a shell reports a command that SIGPIPE ended.
_BROKEN_PIPE_STATUS = 141


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(
        dest="network_command", title="commands", metavar="COMMAND", required=True
    )
    for name in _COMMANDS:
        module = _module(name)
        command = commands.add_parser(name, help=module.HELP, description=module.__doc__)
        module.add_arguments(command)


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say. The exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # logs hold any character, terminals need not know it
    try:
        return int(_module(args.network_command).run(args))
    except BrokenPipeError:
        # Whoever read the output has enough. Nothing may be left to be written when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE_STATUS


def _module(command: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{command.replace('-', '_')}")
