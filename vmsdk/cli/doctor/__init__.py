"""`vmsdk doctor`: why a plugin doesn't start on a node, and how to fix it."""

from __future__ import annotations

import argparse

from vmsdk.cli.arguments import filled, filled_path

NAME = "doctor"
HELP = "find out why a plugin doesn't start on a node"
DESCRIPTION = """\
Start a plugin, or all plugins in a directory, the way a node does: check the names, start each plugin with a
node's environment, wait for the handshake, ask for the version, shut down. Explain what is wrong and how to
fix it. Plugins may be written in any language.

  vmsdk doctor ~/.metalgo/plugins                     all plugins in a directory
  vmsdk doctor ~/.metalgo/plugins/VM_ID               one of them
  sudo vmsdk doctor ~/.metalgo/plugins --as metal     as the user who runs the node
  vmsdk doctor DIR --node ./metalgo                   for this node: its executable, API URL or process ID
  vmsdk doctor                                        this machine, and the plugin directories of its nodes

Exit status: 0 if nothing is wrong (warnings and notes may be printed), 1 if a node would run into an
error, 2 for wrong usage, 3 for an error in vmsdk itself.
"""

_LIMIT_NAMES = ("nofile", "nproc", "as", "data", "stack", "fsize")
_UNLIMITED = ("infinity", "unlimited")
"""In systemd's words and ulimit's."""
_MAX_LIMIT = 2**63 - 1
_MAX_DIGITS = len(str(_MAX_LIMIT))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path",
        metavar="PLUGIN|PLUGIN-DIR",
        nargs="?",
        type=filled_path,
        help="a plugin's file, or a plugin directory",
    )
    parser.add_argument(
        "--node",
        type=filled,
        metavar="PATH|URL|PID",
        help=(
            "a node: its executable, its API (http://127.0.0.1:9650), or its process ID, whose user, umask,"
            " limits, working directory and environment are then used"
        ),
    )
    parser.add_argument(
        "--as", dest="user", type=filled, metavar="USER", help="start plugins as this user (needs root)"
    )
    parser.add_argument(
        "--cwd", type=filled_path, metavar="DIR", help="the node's working directory (default: /)"
    )
    parser.add_argument("--umask", type=_octal, metavar="MASK", help="the node's umask (default: 022)")
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        type=_limit,
        metavar="NAME=N",
        help=f"a limit of the node's unit: {', '.join(_LIMIT_NAMES)} (repeatable)",
    )
    parser.add_argument("--no-start", action="store_true", help="only inspect files: start nothing")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    from vmsdk.cli.doctor import examination  # imports gRPC

    return examination.run(args)


def _octal(text: str) -> int:
    try:
        mask = int(text, 8)
    except ValueError:
        mask = -1
    if not 0 <= mask <= 0o777:
        raise argparse.ArgumentTypeError(f"{text!r} is not a umask: use one such as 022")
    return mask


def _limit(text: str) -> tuple[int, tuple[int, int]]:
    import resource

    name, _, number = text.partition("=")
    if name.lower() not in _LIMIT_NAMES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a limit: use NAME=N, with a name of {', '.join(_LIMIT_NAMES)}"
        )
    if number in _UNLIMITED:
        limit = resource.RLIM_INFINITY
    # Python may refuse to parse a longer one.
    elif number.isdecimal() and (len(number) > _MAX_DIGITS or int(number) > _MAX_LIMIT):
        raise argparse.ArgumentTypeError(
            f"the limit {name} is too large: at most {_MAX_LIMIT}, or infinity for none"
        )
    elif number.isdecimal():
        limit = int(number)
    else:
        raise argparse.ArgumentTypeError(
            f"{number!r} is not a number for the limit {name}: use digits, or infinity for none"
        )
    return getattr(resource, f"RLIMIT_{name.upper()}"), (limit, limit)
