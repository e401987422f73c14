"""The `vmsdk` command. Each subcommand is a module of this package.

The module has `NAME`, `HELP` (one line), `add_arguments(parser)` and `run(args)`, which returns the
exit status. A `VMError` becomes a message. Only the chosen module is imported.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import re
import sys
from collections.abc import Sequence

from vmsdk._version import __version__
from vmsdk.errors import MissingExtra, VMError

_COMMANDS = ("new", "dev", "install", "bundle", "doctor", "network", "version", "check")

_DESCRIPTION = "Write blockchain virtual machines in Python and run them on MetalGo and AvalancheGo nodes."
_EPILOG = """\
A TARGET is a VM: path/vm.py, path/vm.py:Class, package.module:Class, or a plugin's executable.

  vmsdk new my-chain                create a project for a new VM
  vmsdk dev vm.py                   run it without a node, with HTTP on 127.0.0.1:9650
  vmsdk dev vm.py --reload          restart it whenever its code changes
  vmsdk check vm.py                 check it against the contract with the node
  vmsdk COMMAND --help              the options of a command
"""

# The exit status of a command that Ctrl-C ended, as in a shell.
_INTERRUPTED_STATUS = 130
# The same for SIGPIPE.
_BROKEN_PIPE_STATUS = 141
_REQUIREMENT = re.compile(r"([\w.-]+).*\bextra\s*==\s*['\"]([\w.-]+)['\"]")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with *argv* (by default, the process's) and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = next((each for each in arguments if not each.startswith("-")), None)
    try:
        try:
            args = _parser(chosen).parse_args(arguments)
            return int(args.run(args))
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except ModuleNotFoundError as error:
        missing = _missing_extra(error, chosen)
        if missing is None:
            raise
        return _fail(chosen, missing)
    except VMError as error:
        return _fail(chosen, error)
    except KeyboardInterrupt:
        return _INTERRUPTED_STATUS
    except BrokenPipeError:  # the reader has read enough, like head
        _discard_output()
        return _BROKEN_PIPE_STATUS
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _discard_output()
        return _fail(chosen, f"can't write {error.filename or 'the output'}: {error.strerror}")


def _discard_output() -> None:
    """Drop what stdout still holds: Python would try to write it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    """Make the parser, with the arguments of the chosen subcommand only."""
    parser = argparse.ArgumentParser(
        "vmsdk",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"vmsdk {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in [chosen] if chosen in _COMMANDS else _COMMANDS:
        module = importlib.import_module(f"{__name__}.{name}")
        command = commands.add_parser(
            module.NAME,
            help=module.HELP,
            description=getattr(module, "DESCRIPTION", module.HELP),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=module.run)
        if name == chosen:
            module.add_arguments(command)
    return parser


def _fail(command: str | None, error: object) -> int:
    print(f"{' '.join(filter(None, ('vmsdk', command)))}: {error}", file=sys.stderr)
    return 1


def _missing_extra(error: ModuleNotFoundError, command: str | None) -> VMError | None:
    """Return the error that shows what to install, if an extra of vmsdk has the missing module."""
    if isinstance(error, VMError):
        return error
    from importlib import metadata  # takes a third of a command's start

    package = (error.name or "").partition(".")[0].replace("_", "-")
    try:
        requirements = metadata.requires("vmsdk") or []
    except metadata.PackageNotFoundError:
        requirements = []  # vmsdk runs from its sources
    extras = [
        match[2]
        for requirement in requirements
        if (match := _REQUIREMENT.match(requirement)) and match[1].replace("_", "-") == package
    ]
    if not extras:
        return None
    extra = command if command is not None and command in extras else "all"
    return MissingExtra(f"vmsdk {command}", package=package, extra=extra)
