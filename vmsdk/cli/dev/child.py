"""The processes in which a VM's source is imported: none of the author's code runs in the command itself.

`launch.py` starts them. They have the environment of a plugin, which is nearly empty.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from types import TracebackType

from vmsdk import target
from vmsdk.serve import serve
from vmsdk.target import SourceTarget, TargetError

DESCRIBE = "describe"
SERVE = "serve"

# As `vmsdk.serve` does when there is something to do about it.
_USAGE_STATUS = 2
_PACKAGE = str(Path(__file__).parents[2])
_IMPORTLIB = str(Path(importlib.__file__).parent)


def main(action: str, text: str, *options: str) -> None:
    """Describe the VM on stdout in JSON, or serve it with the protocol and log level in *options*."""
    out = _take_stdout() if action == DESCRIBE else -1
    try:
        source = target.find(text)
        assert isinstance(source, SourceTarget)
        sys.argv = [str(source.file or source.module)]
        # Made for a description, too: a node that gets to know a plugin starts it without initialising it.
        vm = source.load()()
        if action == SERVE:
            protocol, log_level = options
            serve(vm, protocol_version=int(protocol), log_level=log_level.upper())
            return
    except TargetError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(_USAGE_STATUS)
    except Exception as error:  # noqa: BLE001 - the author's: shown without our own frames
        traceback.print_exception(type(error), error, _authors_frames(error))
        sys.exit(1)
    os.write(out, json.dumps({"name": vm.name}).encode())


def _take_stdout() -> int:
    """The descriptor of stdout, for the description alone: what the source prints goes to stderr."""
    out = os.dup(1)
    os.dup2(2, 1)
    return out


def _authors_frames(error: Exception) -> TracebackType | None:
    """From the first frame on that is neither ours nor the import system's; all, if there is no other."""
    frames = error.__traceback__
    while frames is not None:
        file = frames.tb_frame.f_code.co_filename
        if not file.startswith((_PACKAGE, _IMPORTLIB, "<")):
            return frames
        frames = frames.tb_next
    # A file that is no Python has no frame of its own, and its error says the line.
    return None if isinstance(error, SyntaxError) else error.__traceback__
