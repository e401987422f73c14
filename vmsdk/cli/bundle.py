"""`vmsdk bundle`: a VM and everything that it imports, as one file for plugin directories."""

from __future__ import annotations

import argparse
import shlex
import sys

from vmsdk.cli.arguments import filled, filled_path
from vmsdk.cli.install import add_launcher_arguments, check_user, launcher_options, next_steps, protocol_text
from vmsdk.install.bundle import bundle, has_python
from vmsdk.install.contents import read_requirements
from vmsdk.install.installation import ask_node
from vmsdk.install.interpreter import NAME as PYTHON

NAME = "bundle"
HELP = "bundle a VM and everything that it imports into one file"
DESCRIPTION = """\
Build a single file from a VM, the packages that it imports and, with --python, Python itself. A node starts
it like any plugin, without a virtual environment. The packages are copied from this Python. First, the VM is
started and stopped as a node would do it.

  vmsdk bundle vm.py                                  into this folder, named after the VM ID
  vmsdk bundle vm.py --python -o tokens-plugin        with Python, into this file
  vmsdk bundle vm.py --plugin-dir ~/.metalgo/plugins  into this machine's node
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target", type=filled, metavar="TARGET", help="the VM: vm.py, vm.py:Class, module or module:Class"
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "-o",
        "--output",
        type=filled_path,
        metavar="PATH",
        help="the file to write, or an existing folder for it (default: .)",
    )
    place.add_argument(
        "--plugin-dir", type=filled_path, metavar="DIR", help="write it into this plugin directory"
    )
    parser.add_argument(
        "--python", action="store_true", help="include this Python, so that the node's machine needs none"
    )
    parser.add_argument(
        "--with",
        dest="requirements",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="include this package, which the code doesn't import by name (repeatable)",
    )
    parser.add_argument(
        "--requirements",
        dest="files",
        action="append",
        default=[],
        type=filled_path,
        metavar="FILE",
        help="include the packages listed in FILE, one per line (repeatable)",
    )
    parser.add_argument(
        "--include",
        action="append",
        default=[],
        type=filled_path,
        metavar="PATH",
        help="include this file or folder from the VM's folder (repeatable)",
    )
    parser.add_argument(
        "--unpack-dir",
        type=filled,
        metavar="DIR",
        help="the folder in which the file unpacks itself; must belong to the node's user (default: "
        "~/.cache, or a folder of that user in /var/tmp)",
    )
    parser.add_argument("--name", help="the VM's name, 1 to 32 ASCII characters (default: its class's)")
    add_launcher_arguments(parser)


def run(args: argparse.Namespace) -> int:
    check_user(args.user)
    built = bundle(
        args.target,
        output=args.output,
        plugin_dir=args.plugin_dir,
        python=args.python,
        requirements=[*args.requirements, *(line for file in args.files for line in read_requirements(file))],
        include=args.include,
        unpack_dir=args.unpack_dir,
        name=args.name,
        user=args.user,
        options={
            "protocol": args.protocol if args.node is None else ask_node(args.node).protocol,
            **launcher_options(args),
        },
    )
    launcher = built.launcher
    print(f"Built {built.application} as {built.path} ({built.size_bytes / 1e6:.1f} MB)")
    print(f"SHA-256: {built.sha256}")
    # The code of an installed VM is among the packages.
    print(f"It contains {'; '.join(', '.join(each) for each in (built.code, built.packages) if each)}.")
    for folder, module in built.left_out:
        include = shlex.quote(str(folder))
        print(f"It does not contain {folder}, which {module.name} names. To include it: --include {include}")
    print(f"It speaks {protocol_text(launcher.protocol, ask=launcher.ask_parent)}, and needs {built.needs}.")
    if not args.python and not has_python():
        print(f"Warning: this machine has no {PYTHON} there. It was tried with {sys.executable}.")
    if args.plugin_dir is None:
        print(f"Copy it into the plugin directory of each node, as {built.vm_id}, with chmod 755.")
    print(next_steps(built.vm_id, launcher.name))
    return 0
