"""`vmsdk network`: local networks of real nodes."""

from __future__ import annotations

import argparse
import io
import sys

NAME = "network"
HELP = "run a VM on a local network of real nodes"
DESCRIPTION = """\
Run a VM on a local network of real nodes.

  vmsdk network start vm.py:MyVM --node ~/bin/metalgo    one node with the VM's chain
  vmsdk network start vm.py:MyVM --nodes 5 --detach      five nodes that keep running
  vmsdk network stop                                     stop them
  vmsdk network start                                    start them again, with all blocks
  vmsdk network COMMAND --help                           the options of a command
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from vmsdk.cli.network import change, logs, start, status

    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (start, status, logs, change):
        module.add_commands(commands)


def run(args: argparse.Namespace) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Logs may hold characters that the terminal can't show.
        sys.stdout.reconfigure(errors="backslashreplace")
    return int(args.run_network(args))
