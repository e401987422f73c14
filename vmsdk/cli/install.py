"""`vmsdk install`: put a VM into a node's plugin directory."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from typing import Any

from vmsdk.address import TRANSPORTS
from vmsdk.cli.arguments import filled, filled_node, filled_path
from vmsdk.errors import VMError
from vmsdk.ids import ID
from vmsdk.install.installation import Installed, install, uninstall
from vmsdk.install.launcher import MIN_MEMORY_BYTES
from vmsdk.install.plugindirectory import Entry, PluginDirectory
from vmsdk.install.reader import Reader, barriers, files_of
from vmsdk.protocol import DEFAULT_PROTOCOL, RANGE
from vmsdk.runtime.logrecords import FORMATTERS, LEVELS

NAME = "install"
HELP = "install a VM into a node's plugin directory"
DESCRIPTION = """\
Write the file that a node runs to start a VM. Its name is the VM ID, which is derived from the VM's name. It
refers to this Python and the VM's source by their current paths, and uses nothing from this shell's
environment. First, the VM is started and stopped as a node would do it.

  vmsdk install vm.py --plugin-dir ~/.metalgo/plugins
  vmsdk install --list --plugin-dir ~/.metalgo/plugins
  vmsdk install --uninstall --name myvm --plugin-dir ~/.metalgo/plugins

By default, the VM asks the node that starts it for its protocol version. With --protocol or --node the
version is fixed, and the VM runs only on nodes with that version.
"""

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"(\d+)([KMGT]?)(?:i?B)?", re.IGNORECASE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target",
        nargs="?",
        type=filled,
        metavar="TARGET",
        help="the VM: vm.py, vm.py:Class, module or module:Class",
    )
    parser.add_argument(
        "--name",
        help="the VM's name, 1 to 32 ASCII characters (default: its class's)",
    )
    parser.add_argument(
        "--plugin-dir", type=filled_path, required=True, metavar="DIR", help="the node's plugin directory"
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--uninstall", action="store_true", help="remove the VM called NAME")
    action.add_argument("--list", action="store_true", help="show what is in the plugin directory")
    add_launcher_arguments(parser)


def add_launcher_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that control how the file starts the VM."""
    version = parser.add_mutually_exclusive_group()
    version.add_argument("--protocol", type=int, metavar="N", help=f"the protocol version to speak, {RANGE}")
    version.add_argument(
        "--node", type=filled_node, metavar="PATH", help="speak the version that this node speaks now"
    )
    version.add_argument(
        "--no-ask", action="store_true", help=f"don't ask the node, and speak version {DEFAULT_PROTOCOL}"
    )
    parser.add_argument(
        "--memory-limit",
        type=_size,
        metavar="SIZE",
        help="limit the memory for the VM's data, such as 2G (Linux; includes thread stacks of 8M each)",
    )
    parser.add_argument(
        "--log-level",
        default="INFO",
        type=str.upper,
        metavar="LEVEL",
        help=f"the lowest level that is logged: {', '.join(LEVELS)} (default: info)",
    )
    parser.add_argument(
        "--log-format", default="plain", choices=FORMATTERS, help="plain (default), or json as nodes have it"
    )
    parser.add_argument(
        "--transport",
        default="auto",
        choices=TRANSPORTS,
        help="how the node reaches the VM: unix, sockets that only its user can open; tcp, ports of "
        "127.0.0.1, which on Linux refuse other users; tcp-any-user, ports that don't; auto (default), the "
        "value of GRPC_VMSDK_TRANSPORT in the node's environment, or else tcp only if Unix sockets are not "
        "possible",
    )
    parser.add_argument(
        "--as",
        dest="user",
        type=filled,
        metavar="USER",
        help="try the VM as this user, who runs the node (needs root)",
    )
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        type=_variable,
        metavar="NAME=VALUE",
        help="an environment variable for the VM, which gets none of the node's (repeatable)",
    )


def launcher_options(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of `Launcher` that these arguments set, but for the protocol version."""
    return {
        "ask_parent": not args.no_ask,
        "memory_limit_bytes": args.memory_limit,
        "log_level": args.log_level,
        "log_format": args.log_format,
        "transport": args.transport,
        "environment": dict(args.env),
    }


def run(args: argparse.Namespace) -> int:
    if args.list:
        return _list(PluginDirectory(args.plugin_dir))
    if args.uninstall:
        if args.name is None:
            raise VMError("give the name of the VM to remove: --name NAME")
        path = uninstall(args.name, args.plugin_dir)
        print(f"Removed {path}. A node that runs {args.name} keeps running it until it is restarted.")
        return 0
    if args.target is None:
        raise VMError("give the VM to install, such as vm.py")
    check_user(args.user)
    installed = install(
        args.target,
        name=args.name,
        plugin_dir=args.plugin_dir,
        protocol=args.protocol,
        node=args.node,
        user=args.user,
        **launcher_options(args),
    )
    launcher, node = installed.launcher, installed.node
    asked = "" if node is None else f", as {node.name} {node.version}"
    print(f"Installed {installed.application} as {installed.path}")
    print(f"It speaks {protocol_text(launcher.protocol, ask=launcher.ask_parent)}{asked}.")
    for warning in _warnings(installed, PluginDirectory(args.plugin_dir), args.user):
        print(f"Warning: {warning}")
    print(next_steps(installed.vm_id, launcher.name))
    return 0


def check_user(name: str | None) -> None:
    """Raise `VMError` if the VM can't be tried as the user *name*."""
    if name is None:
        return
    if os.geteuid() != 0:
        raise VMError("--as needs root: only root can start the VM as another user")
    Reader.called(name)
    # Off Linux, changing the user takes a real fork, at which gRPC would print a line about its
    # threads.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


_NOT_A_VM = "not named after a VM's ID: unless the node's configuration has that alias, the node won't start"


def _warnings(installed: Installed, directory: PluginDirectory, user: str | None) -> Iterator[str]:
    for entry in directory.entries():
        if entry.vm_id is None:
            yield f"{entry.path.name} is {_NOT_A_VM}"
    reader = Reader.owner_of(directory.path) if user is None else Reader.called(user)
    who = f"the owner of {directory.path}" if user is None else user
    for path in barriers(files_of(installed.launcher), reader):
        verb = "enter" if path.is_dir() else "read"
        yield (
            f"{who} can't {verb} {path}. If that user runs the node, the VM won't start: put Python and the "
            "VM's source where everyone can read them"
        )


def protocol_text(protocol: int | None, *, ask: bool = True) -> str:
    """Describe which protocol version a VM speaks."""
    if protocol is not None:
        return f"protocol {protocol}"
    return f"the protocol of the node that starts it, {RANGE}" if ask else f"protocol {DEFAULT_PROTOCOL}"


def next_steps(vm_id: ID, name: str) -> str:
    """Return instructions for a new file in a plugin directory."""
    return f"""\
Next:
  - Restart the node, which reads its plugin directory only when it starts.
    (With --api-admin-enabled, admin.loadVMs at /ext/admin loads a new VM.)
  - Create a blockchain with the VM ID {vm_id} on your subnet.
  - Have the node track the subnet: --track-subnets=SUBNET_ID
  - Optionally name the VM in the node's API, in configs/vms/aliases.json of its data directory:
    {{"{vm_id}": ["{name}"]}}
The node's logs show whether it works: logs/vm-factory.log when it starts, then logs/CHAIN_ID.log."""


def _list(directory: PluginDirectory) -> int:
    entries = directory.entries()
    for entry in entries:
        print(_describe(entry))
    if not entries:
        print(f"There is no VM in {directory.path}.")
    return 0


def _describe(entry: Entry) -> str:
    if entry.launcher is not None:
        written = entry.launcher
        protocol = protocol_text(written.protocol, ask=written.ask_parent)
        return f"{written.name}: {entry.path.name}, {written.target}, {protocol}"
    if entry.vm_id is None:
        return f"{entry.path.name} is {_NOT_A_VM}"
    how = "changed since vmsdk wrote it" if entry.changed else "not written by vmsdk"
    return f"{entry.path.name} was {how}"


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: use a number of bytes, or 800M, 2G")
    size = int(found[1]) * _UNITS[found[2].upper()]
    if size < MIN_MEMORY_BYTES:
        raise argparse.ArgumentTypeError(
            f"{text} is too low: a VM needs at least {MIN_MEMORY_BYTES // 2**20}M"
        )
    return size


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not a variable: use NAME=VALUE")
    return name, value
