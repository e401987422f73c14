"""`vmsdk dev`: run a VM without a node."""

from __future__ import annotations

import argparse
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import Self

from vmsdk.cli.arguments import filled, filled_path
from vmsdk.errors import VMError

if TYPE_CHECKING:
    from vmsdk.target import Target

NAME = "dev"
HELP = "run a VM without a node, with HTTP, stored blocks and reloading"
DESCRIPTION = """\
Run a VM without a node. vmsdk stands in for the node: it starts the VM as a plugin process, builds and
accepts a block whenever the VM has work, and serves the VM's HTTP under /ext/bc/<name>.

  vmsdk dev vm.py                          the VM in a file, with HTTP on 127.0.0.1:9650
  vmsdk dev vm.py:Coin --reload            one of several VMs; restart it when its code changes
  vmsdk dev package.vm --genesis g.json    the VM in a module, with a genesis
  vmsdk dev ./my-vm --protocol 43          a plugin in any language, like a node of protocol 43
  vmsdk dev vm.py --debug                  stop at breakpoint(), with pdb in this terminal

A second process of the VM, its shadow, gets each block the way another node would, and must arrive at the
same state; the first block at which the two differ is reported. --alone turns the shadow off. Anything else
that a network would not accept is reported, too. POST /ext/dev controls the chain: see docs/dev.md.

The chain is stored in .vmsdk/<name> in the current folder, with its genesis, until --reset.
Ctrl-C stops the VM the way a node does; a second Ctrl-C kills it.
"""

# Source: the node's default, http-port.
DEFAULT_PORT = 9650
LOG_LEVELS = ("debug", "info", "warning", "error")

# Matches the name of a file that may be missing, but neither JSON nor plain words.
_FILE_NAME = re.compile(r"[^\s{}\[\]\"']+\.[A-Za-z]\w{1,5}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from vmsdk.protocol import DEFAULT_PROTOCOL, NEWEST, OLDEST

    parser.add_argument(
        "target",
        type=filled,
        metavar="TARGET",
        help="path/vm.py, path/vm.py:Class, package.module[:Class], or an executable",
    )
    chain = parser.add_argument_group("the chain")
    chain.add_argument("--genesis", metavar="FILE|TEXT", help="default: the stored chain's, or empty")
    chain.add_argument("--config", metavar="FILE|TEXT", help="the chain's configuration; default: empty")
    chain.add_argument("--upgrade", metavar="FILE|TEXT", help="the chain's upgrades; default: empty")
    chain.add_argument(
        "--data-dir", type=filled_path, metavar="DIR", help="where to store the chain; default: .vmsdk/<name>"
    )
    chain.add_argument("--reset", action="store_true", help="remove the stored chain first")
    node = parser.add_argument_group("the node")
    node.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help="for HTTP; 0 for any free one; default: %(default)s"
    )
    node.add_argument(
        "--protocol",
        type=int,
        choices=range(OLDEST, NEWEST + 1),
        default=DEFAULT_PROTOCOL,
        metavar="N",
        help=f"the protocol version to speak, {OLDEST} to {NEWEST}; default: %(default)s",
    )
    process = parser.add_argument_group("the process")
    process.add_argument(
        "--reload", action="store_true", help="restart the VM when its code changes, and keep the chain"
    )
    process.add_argument(
        "--alone",
        action="store_true",
        help="don't run the second process, which checks that the VM arrives at the same state",
    )
    process.add_argument(
        "--debug",
        nargs="?",
        type=_port,
        const=0,
        metavar="PORT",
        help="stop at breakpoint(): with pdb in this terminal, or on a port for debugpy; implies --alone",
    )
    process.add_argument(
        "--log-level",
        choices=LOG_LEVELS,
        default="info",
        metavar="LEVEL",
        help=f"of a VM in Python: {', '.join(LOG_LEVELS)}; default: %(default)s",
    )


def run(args: argparse.Namespace) -> int:
    from vmsdk.cli.dev.session import Session

    return Session(Settings.of(args)).run()


@dataclass(frozen=True)
class Settings:
    """The command line, with its files read. See the command's help for each."""

    target: Target
    genesis: bytes | None
    """None for the stored chain's, or an empty one."""
    config: bytes
    upgrade: bytes
    data_dir: Path | None
    reset: bool
    port: int
    protocol: int
    reload: bool
    alone: bool
    debug: int | None
    """The port for debuggers, 0 for pdb in the terminal, None to debug nothing."""
    log_level: str

    @classmethod
    def of(cls, args: argparse.Namespace) -> Self:
        """Raises `VMError` if the target or a file is missing."""
        from vmsdk import target

        found = target.find(args.target)
        if args.debug is not None and not isinstance(found, target.SourceTarget):
            raise VMError(f"--debug is for VMs in Python, and {args.target} is an executable")
        if args.debug == 0 and not sys.stdin.isatty():
            raise VMError("--debug needs a terminal: run vmsdk dev in one, or use --debug PORT with debugpy")
        return cls(
            target=found,
            genesis=_content("genesis", args.genesis),
            config=_content("config", args.config) or b"",
            upgrade=_content("upgrade", args.upgrade) or b"",
            data_dir=args.data_dir,
            reset=args.reset,
            port=args.port,
            protocol=args.protocol,
            reload=args.reload,
            # A shadow would stop at the same breakpoints.
            alone=args.alone or args.debug is not None,
            debug=args.debug,
            log_level=args.log_level,
        )


def _content(option: str, value: str | None) -> bytes | None:
    """Return the bytes of the file called *value*, or *value* itself in UTF-8."""
    if not value:
        return None if value is None else b""
    try:
        return Path(value).read_bytes()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        if _FILE_NAME.fullmatch(value) or value.startswith((os.sep, os.curdir + os.sep)):
            raise VMError(f"--{option} {value}: there is no such file") from None
        return value.encode()
    except OSError as error:
        if len(value) > 255 or "\n" in value:  # too long for the name of a file
            return value.encode()
        raise VMError(f"--{option} {value}: {error.strerror or error}") from None


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError(f"{text} is not a port: choose one from 0 to 65535")
    return port
