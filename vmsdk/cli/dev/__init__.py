"""`vmsdk dev`: run a VM without a node."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "dev"
HELP = "run a VM without a node: HTTP, stored blocks, restart at changes"
DESCRIPTION = """\
Run a VM without a node. vmsdk plays the node: it starts the VM as a plugin process, builds and accepts a
block whenever the VM has work, and serves the VM's HTTP as a node does, below /ext/bc/<name>.

  vmsdk dev vm.py                          the one VM in a file; HTTP on 127.0.0.1:9650
  vmsdk dev vm.py:Coin --reload            one of several, and again at each change of the code
  vmsdk dev package.vm --genesis g.json    a module, with a genesis
  vmsdk dev ./my-vm --protocol 43          a plugin in any language, as a node of protocol 43 would

The chain is kept in .vmsdk/<name> in the current folder, with its genesis, until --reset.
Ctrl-C stops the VM as a node would; a second Ctrl-C kills it.
"""

# Source: the node's default, http-port.
DEFAULT_PORT = 9650
LOG_LEVELS = ("debug", "info", "warning", "error")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from vmsdk.host.config import DEFAULT_PROTOCOL_VERSION
    from vmsdk.protocol import NEWEST, OLDEST

    parser.add_argument(
        "target",
        metavar="TARGET",
        help="path/vm.py, path/vm.py:Class, package.module[:Class], or an executable",
    )
    chain = parser.add_argument_group("the chain")
    chain.add_argument(
        "--genesis", metavar="FILE|TEXT", help="its genesis; default: the kept one, else empty"
    )
    chain.add_argument("--config", metavar="FILE|TEXT", help="its configuration; default: empty")
    chain.add_argument("--upgrade", metavar="FILE|TEXT", help="its upgrades; default: empty")
    chain.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="where it is kept; default: .vmsdk/<name>"
    )
    chain.add_argument("--reset", action="store_true", help="forget the kept chain first")
    node = parser.add_argument_group("the node")
    node.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help="of HTTP; 0: a free one; default: %(default)s"
    )
    node.add_argument(
        "--protocol",
        type=int,
        choices=range(OLDEST, NEWEST + 1),
        default=DEFAULT_PROTOCOL_VERSION,
        metavar="N",
        help=f"its protocol version, {OLDEST} to {NEWEST}; default: %(default)s",
    )
    run_options = parser.add_argument_group("the process")
    run_options.add_argument(
        "--reload", action="store_true", help="restart the VM when its code changes; the chain is kept"
    )
    run_options.add_argument(
        "--log-level",
        choices=LOG_LEVELS,
        default="info",
        metavar="LEVEL",
        help=f"of a VM in Python: {', '.join(LOG_LEVELS)}; default: %(default)s",
    )


def run(args: argparse.Namespace) -> int:
    from vmsdk.cli.dev.session import Session
    from vmsdk.cli.dev.settings import Settings

    return Session(Settings.of(args)).run()


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError(f"{port} is not a port: 0 to 65535")
    return port
