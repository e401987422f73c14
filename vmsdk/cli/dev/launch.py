"""The processes that import a VM's source. The author's code never runs in the command itself.

`main` runs in them. They have a plugin's environment, which is nearly empty.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from vmsdk import target
from vmsdk.block import Block
from vmsdk.errors import InvalidBlock, VMError
from vmsdk.serving import serve
from vmsdk.target import SourceTarget, Target, TargetError
from vmsdk.timestamp import Timestamp
from vmsdk.vm import ChainVM

_DESCRIBE = "describe"
_SERVE = "serve"

# The plugin's environment has no PYTHONPATH, so the module path is an argument.
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from vmsdk.cli.dev import launch; "
    "launch.main(*sys.argv[2:])"
)
_MAIN_GUARD = """\
{} calls vmsdk.serve() while it is imported. Call it only when the file runs as a script:

    if __name__ == "__main__":
        vmsdk.serve(...)"""
_USAGE_STATUS = 2  # As of `vmsdk.serve`.
_PACKAGE = str(Path(__file__).parents[2])
_IMPORTLIB = str(Path(importlib.__file__).parent)


class Describer:
    """Imports a source in a process of its own to learn the name of its VM. Cancel it from any
    thread.
    """

    def __init__(self, target: Target, *, reload: bool) -> None:
        self._target = target
        self._reload = reload
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = False

    def name(self) -> str:
        """Return the VM's name. Raises `VMError` with the traceback if the import fails, or if
        cancelled.
        """
        if not isinstance(self._target, SourceTarget):
            return self._target.name
        with self._lock:
            if self._cancelled:
                raise VMError("cancelled")
            self._process = subprocess.Popen(
                _python_command(self._target, _DESCRIBE, reload=self._reload),
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        out, errors = self._process.communicate()
        if self._process.returncode != 0 or not out:
            output = errors.decode(errors="replace").rstrip()
            raise VMError(output or f"{self._target.text}: the import ended the process without a message")
        description = json.loads(out)
        if "error" in description:
            raise VMError(description["error"])
        return str(description["name"])

    def cancel(self) -> None:
        """Kill the process if it runs, and start none from now on."""
        with self._lock:
            self._cancelled = True
            if self._process is not None:
                self._process.kill()


def plugin_command(target: Target, *, protocol: int, log_level: str, reload: bool) -> list[str]:
    """Return the argv that starts *target* as a plugin."""
    if isinstance(target, SourceTarget):
        return _python_command(target, _SERVE, str(protocol), log_level, reload=reload)
    return [str(target.file)]


def _python_command(target: SourceTarget, action: str, *options: str, reload: bool) -> list[str]:
    path = json.dumps([os.path.abspath(entry) for entry in sys.path if entry])
    # Python detects stale bytecode by the second, which is too coarse for someone who saves twice
    # in one.
    flags = ["-B"] if reload else []
    flags += ["-X", "utf8", "-X", "faulthandler"]
    return [sys.executable, *flags, "-c", _BOOT, path, action, target.text, *options]


def main(action: str, text: str, *options: str) -> None:
    """Print a JSON description of the VM, or serve it with the protocol and log level in
    *options*.
    """
    out = _take_stdout() if action == _DESCRIBE else -1
    try:
        source = target.find(text)
        assert isinstance(source, SourceTarget)
        sys.argv = [str(source.file or source.module)]
        # A description needs an instance, too: a node starts new plugins without initialising them.
        vm = source.load()()
        if action == _SERVE:
            protocol, log_level = options
            _read_back_blocks(vm)
            serve(vm, protocol_version=int(protocol), log_level=log_level.upper())
            return
    except TargetError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(_USAGE_STATUS)
    except SystemExit as error:
        if action != _DESCRIBE or not _called_serve(error):
            raise
        # Not on stderr, where serve() has complained that no node started it.
        os.write(out, json.dumps({"error": _MAIN_GUARD.format(text)}).encode())
        return
    except Exception as error:  # noqa: BLE001 - the author's error, shown without our own frames
        traceback.print_exception(type(error), error, _authors_frames(error))
        sys.exit(1)
    os.write(out, json.dumps({"name": vm.name}).encode())


def _read_back_blocks(vm: ChainVM) -> None:
    """Make the VM's builders return what `parse_block` makes of the bytes, which is all that other
    nodes get.

    Without this, a VM alone would only ever see the objects that it has built, never those it
    parses.
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


def _take_stdout() -> int:
    """Reserve stdout for the description: what the source prints goes to stderr. Returns its
    descriptor.
    """
    out = os.dup(1)
    os.dup2(2, 1)
    return out


def _called_serve(error: BaseException) -> bool:
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code is serve.__code__ for frame, _ in frames)


def _authors_frames(error: Exception) -> TracebackType | None:
    """Drop the frames before the author's code: ours and the import system's."""
    frames = error.__traceback__
    while frames is not None:
        file = frames.tb_frame.f_code.co_filename
        if not file.startswith((_PACKAGE, _IMPORTLIB, "<")):
            return frames
        frames = frames.tb_next
    # A syntax error has no frame in its file, and its message names the line.
    return None if isinstance(error, SyntaxError) else error.__traceback__
