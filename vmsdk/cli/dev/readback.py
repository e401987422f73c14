"""Prepares a VM for `vmsdk dev`: its blocks, its clock, debugging, and its shadow.

A separate file because the VM's process imports nothing else of the command.
"""

from __future__ import annotations

import functools
import importlib
import mmap
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from vmsdk import serving
from vmsdk.block import Block
from vmsdk.errors import InvalidBlock
from vmsdk.timestamp import set_clock
from vmsdk.vm import ChainVM

DEBUG_VARIABLE = "GRPC_VMSDK_DEBUG"
"""The port for debuggers, or 0 for pdb in the terminal. Set only with `--debug`."""
_TERMINAL = "/dev/tty"

SHADOW_VARIABLE = "GRPC_VMSDK_SHADOW"
"""Set for the shadow only."""

CLOCK_FILE = "clock"
"""The file next to the launcher with the clock's offset, see `vmsdk.host.clock.Clock`."""


def _follow_clock() -> None:
    """Set this process's clock to the machine's, moved by what `dev_increaseTime` has written."""
    with open(os.path.join(os.path.dirname(sys.argv[0]), CLOCK_FILE), "rb") as file:
        offset = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    set_clock(lambda: time.time_ns() + int.from_bytes(offset[:8], "big", signed=True))


def _read_back_blocks(vm: ChainVM) -> None:
    """Make the VM's builders return the parsed block.

    Other nodes get only its bytes. Without this, a VM that runs alone never parses a block.
    """
    for name in ("build_block", "build_block_with_context"):
        build = getattr(vm, name, None)
        if build is not None:
            setattr(vm, name, functools.wraps(build)(functools.partial(_read_back, vm, name, build)))


def _read_back(vm: ChainVM, name: str, build: Callable[..., Block], *arguments: int) -> Block:
    from vmsdk.rpc import conversion  # imported by now, unlike at the start

    built = conversion.block(name, build(*arguments), "NothingToBuild")
    try:
        parsed = conversion.block("parse_block", vm.parse_block(conversion.content(built)), "InvalidBlock")
    except InvalidBlock as error:
        raise ValueError(
            f"parse_block refuses the bytes of the block that {name} returned: {error}"
        ) from None
    readers: dict[str, Callable[[Block], object]] = {
        "id": conversion.own_id,
        "parent_id": conversion.parent_id,
        "height": conversion.height,
        "timestamp": conversion.moment_of,
        "raw": conversion.content,
    }
    for field, read in readers.items():
        ours, theirs = read(built), read(parsed)
        if ours != theirs:
            raise ValueError(
                f"{name} returned a block whose {field} is {ours!r}, but parse_block reads {theirs!r} from "
                "its bytes: other nodes would disagree"
            )
    return parsed


class _Backwards:
    """The entries of a directory like `os.scandir`, but the last one first."""

    def __init__(self, entries: list[os.DirEntry[Any]]) -> None:
        self._entries = entries

    def __iter__(self) -> _Backwards:
        return self

    def __next__(self) -> os.DirEntry[Any]:
        if not self._entries:
            raise StopIteration
        return self._entries.pop()

    def __enter__(self) -> _Backwards:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._entries.clear()


def _list_directories_backwards() -> None:
    """Reverse the order of directories, which depends on a node's file system."""
    listdir, scandir = os.listdir, os.scandir

    def entries(path: Any = ".") -> Any:
        with scandir(path) as found:
            return _Backwards(list(found))

    def names(path: Any = None) -> Any:
        return listdir(path)[::-1]

    for original, backwards in ((listdir, names), (scandir, entries)):
        if original in os.supports_fd:  # or shutil would remove trees less safely
            os.supports_fd.add(backwards)
    os.listdir, os.scandir = names, entries


def launch(**settings: Any) -> None:
    """Serve the VM. The launcher calls this in place of `vmsdk.serving.launch`."""
    if SHADOW_VARIABLE in os.environ:
        _list_directories_backwards()
    port = os.environ.get(DEBUG_VARIABLE)
    if port == "0":
        sys.breakpointhook = _debug_in_terminal
    elif port is not None and not sys.argv[1:]:
        _listen_for_debugger(int(port))
    # Before the VM's code, which may change sys.argv, or close descriptors that the file would get.
    _follow_clock()
    serving.launch(**settings, prepare=_read_back_blocks)


def _debug_in_terminal(*_: Any, **__: Any) -> None:
    """Stop at the caller's line, with pdb in the terminal of `vmsdk dev`."""
    import pdb

    # A plugin's stdin is empty, and its output is read by dev.
    keyboard, screen = open(_TERMINAL), open(_TERMINAL, "w")  # noqa: SIM115 - pdb uses them from now on
    pdb.Pdb(stdin=keyboard, stdout=screen).set_trace(sys._getframe(1))


def _listen_for_debugger(port: int) -> None:
    # Otherwise it warns that it can't stop in frozen modules of the standard library.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    try:
        debugpy: Any = importlib.import_module("debugpy")
    except ModuleNotFoundError:
        sys.exit("vmsdk: --debug PORT needs debugpy: python -m pip install debugpy")
    debugpy.listen(("127.0.0.1", port))
    sys.breakpointhook = debugpy.breakpoint
