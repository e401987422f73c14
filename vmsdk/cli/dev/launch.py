"""The processes that import a VM's source. The author's code never runs in the command itself.

They start through a launcher, as an installed VM does, so order, `sys.path` and environment are the
same.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO

from vmsdk.chain.replica import HASH_SEED
from vmsdk.cli.dev import readback
from vmsdk.errors import VMError
from vmsdk.host.errors import ending
from vmsdk.host.plugin import inherited
from vmsdk.install.installation import added_path
from vmsdk.install.launcher import Launcher
from vmsdk.rpc.watchdog import PATIENCE_VARIABLE
from vmsdk.runtime.version import JSON_FLAG
from vmsdk.target import SourceTarget, Target

# How lines of the watchdog begin.
_SIGNS_OF_SLOWNESS = (" vmsdk.watchdog: ", "Timeout (")

# How long to wait for the end of stderr once the process has ended.
_LAST_LINES_S = 1.0


class Starter:
    """Starts the processes of *target*, whose clock's offset is in the file *clock*.

    Its own files are in a folder next to *clock*. Close it after the processes.
    """

    def __init__(
        self, target: Target, *, protocol: int, log_level: str, reload: bool, clock: Path, debug: int | None
    ) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = False
        self._cleanup = ExitStack()
        if not isinstance(target, SourceTarget):
            self.command = self.shadow_command = [str(target.file)]
            """The argv that starts the VM as a plugin, and the one that starts its shadow."""
            return
        temporary = tempfile.TemporaryDirectory(prefix="launcher-", dir=clock.parent)
        folder = self._cleanup.enter_context(temporary)
        (Path(folder) / readback.CLOCK_FILE).symlink_to(clock)
        launcher = Launcher(
            name=target.absolute,
            target=target,
            path=added_path(),
            protocol=protocol,
            log_level=log_level.upper(),
            # Python checks bytecode by whole seconds, in which a file may be saved twice.
            flags=("-B",) if reload else (),
            entry=readback.__name__,
            environment=(
                {} if debug is None else {readback.DEBUG_VARIABLE: str(debug), PATIENCE_VARIABLE: "0"}
            ),
        )
        self.command = launcher.write(Path(folder, "launcher"))
        environment = {**launcher.environment, readback.SHADOW_VARIABLE: "1"}
        shadow = replace(launcher, hash_seed=HASH_SEED, environment=environment)
        self.shadow_command = shadow.write(Path(folder, "shadow"))

    def name(self, show: Callable[[str, str], None] = lambda *_: None) -> str:
        """Import the source and return the VM's name. Raises `VMError` if that fails.

        *show* is called with the output of a slow import: the stream's name, and a line.
        """
        if not isinstance(self._target, SourceTarget):
            return self._target.name
        with self._lock:
            if self._cancelled:
                raise VMError("cancelled")
            self._process = process = subprocess.Popen(
                [*self.command, JSON_FLAG],
                env=inherited(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        assert process.stdout is not None
        lines: list[str] = []
        reader = threading.Thread(target=_read, args=(process.stderr, lines, show), daemon=True)
        reader.start()
        with process.stdout as stdout:
            out = stdout.read()
        process.wait()
        # A command that the author's code started may hold stderr open.
        reader.join(_LAST_LINES_S)
        if process.returncode != 0 or not out:
            output = "".join(lines).rstrip().removeprefix("vmsdk: ")
            how = ending(process.returncode)
            raise VMError(
                output or f"{self._target.text}: the import ended the process{how}, without a message"
            )
        return str(json.loads(out)["name"])

    def cancel(self) -> None:
        """Kill the process of `name`, and don't start another. Thread-safe."""
        with self._lock:
            self._cancelled = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """Remove the launcher, which the VM's worker processes need."""
        self._cleanup.close()


def _read(stderr: IO[bytes], lines: list[str], show: Callable[[str, str], None]) -> None:
    is_slow = False
    with stderr:
        for raw in stderr:
            line = raw.decode(errors="replace")
            lines.append(line)
            is_slow = is_slow or any(sign in line for sign in _SIGNS_OF_SLOWNESS)
            if is_slow:
                show("stderr", line.rstrip("\n"))
