"""Prepares a VM for `vmsdk dev`: parses each block that it builds, and lets its clock be moved.

A separate file because the VM's process imports nothing else of the command.
"""

from __future__ import annotations

import functools
import mmap
import os
import sys
import time
from collections.abc import Callable

from vmsdk import serving
from vmsdk.block import Block
from vmsdk.errors import InvalidBlock
from vmsdk.timestamp import Timestamp, set_clock
from vmsdk.vm import ChainVM

CLOCK_FILE = "clock"
"""Beside the launcher: the clock's offset, see `vmsdk.host.control.Clock`."""


def _prepare(vm: ChainVM) -> None:
    _follow_clock()
    _read_back_blocks(vm)


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
    built = build(*arguments)
    if not isinstance(getattr(built, "raw", None), bytes):
        return built  # Not a block: the runtime explains what is wrong.
    try:
        parsed = vm.parse_block(built.raw)
    except InvalidBlock as error:
        raise ValueError(
            f"parse_block refuses the bytes of the block that {name} returned: {error}"
        ) from None
    for field in ("id", "parent_id", "height", "timestamp", "raw"):
        ours, theirs = getattr(built, field), getattr(parsed, field)
        if field == "timestamp":
            ours, theirs = Timestamp.of(ours), Timestamp.of(theirs)
        if ours != theirs:
            raise ValueError(
                f"{name} returned a block whose {field} is {ours!r}, but parse_block reads {theirs!r} from "
                "its bytes: other nodes would disagree"
            )
    return parsed


launch = functools.partial(serving.launch, prepare=_prepare)
"""For the launcher, in place of `vmsdk.serving.launch`."""
