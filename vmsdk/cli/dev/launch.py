"""The command lines by which a target becomes a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass

from vmsdk.cli.dev import child
from vmsdk.errors import VMError
from vmsdk.target import SourceTarget, Target

# The plugin's environment holds no PYTHONPATH and the like: the path of modules comes as an argument.
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from vmsdk.cli.dev import child; "
    "child.main(*sys.argv[2:])"
)


@dataclass(frozen=True)
class Description:
    """What a VM says of itself before it runs."""

    name: str
    """1 to 32 ASCII characters, as the author chose them."""


class NotDescribed(VMError):
    """The source can't be imported, or has no VM. *output* is what the import printed, a traceback above all."""

    def __init__(self, target: str, output: str) -> None:
        self.target = target
        self.output = output
        super().__init__(output or f"{target}: importing it ended without a word")


class Describer:
    """Imports a source in a process of its own to learn about its VM. May be cancelled from any thread."""

    def __init__(self, target: Target, *, reload: bool) -> None:
        self._target = target
        self._reload = reload
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = False

    def describe(self) -> Description:
        """Raises `NotDescribed`, also when cancelled."""
        if not isinstance(self._target, SourceTarget):
            return Description(self._target.name)
        with self._lock:
            if self._cancelled:
                raise NotDescribed(self._target.text, "cancelled")
            self._process = subprocess.Popen(
                python_command(self._target, child.DESCRIBE, reload=self._reload),
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        out, errors = self._process.communicate()
        if self._process.returncode != 0 or not out:
            raise NotDescribed(self._target.text, errors.decode(errors="replace").rstrip())
        return Description(name=str(json.loads(out)["name"]))

    def cancel(self) -> None:
        """End the process, if it runs; start none any more."""
        with self._lock:
            self._cancelled = True
            if self._process is not None:
                self._process.kill()


def plugin_command(target: Target, *, protocol: int, log_level: str, reload: bool) -> list[str]:
    """The argv that starts *target* as a plugin."""
    if isinstance(target, SourceTarget):
        return python_command(target, child.SERVE, str(protocol), log_level, reload=reload)
    return [str(target.file)]


def python_command(target: SourceTarget, action: str, *options: str, reload: bool) -> list[str]:
    path = [os.path.abspath(entry) for entry in sys.path if entry]
    # Compiled files are told from stale ones by the second: too coarse for one who saves twice in one.
    flags = ["-B"] if reload else []
    return [
        sys.executable,
        *flags,
        "-X",
        "utf8",
        "-c",
        _BOOT,
        json.dumps(path),
        action,
        target.text,
        *options,
    ]
