"""The trial of a launcher before it is put in place: what fails on the node should fail here first."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from vmsdk.install.errors import NotStartable
from vmsdk.runtime.pluginversion import JSON_FLAG

# Imports may take their time. A node would wait for them, since they come after the handshake.
TIMEOUT_S = 120.0


def ask_version(launcher: Path, target: str) -> str:
    """Run *launcher* as a node would, but for its version: the VM's name and version, as `timestampvm/1.0.0`.

    By the way everything that it imports is compiled. Raises `NotStartable`.
    """
    try:
        done = subprocess.run(
            [launcher, JSON_FLAG],
            env={},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        raise NotStartable(target, error.strerror or str(error), "") from None
    except subprocess.TimeoutExpired as error:
        said = (error.stderr or b"").decode("utf-8", "replace").rstrip()
        raise NotStartable(target, f"it takes over {TIMEOUT_S:.0f} s to import", said) from None
    try:
        return str(json.loads(done.stdout)["application"])
    except (ValueError, KeyError, TypeError):
        said = done.stderr.decode("utf-8", "replace").rstrip()
        raise NotStartable(target, f"exit status {done.returncode}", said) from None
