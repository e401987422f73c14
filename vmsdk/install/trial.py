"""The trial of a launcher before it is put in place, so that what fails on the node fails here
first.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

from vmsdk.install.launcher import InstallError
from vmsdk.runtime.version import JSON_FLAG

# Imports may be slow. A node waits for them, since they come after the handshake.
TIMEOUT_S = 120.0


def ask_version(launcher: Path, target: str) -> str:
    """Run *launcher* as a node would, but with `--version-json`; returns `name/version` of the VM.

    This also compiles everything that it imports. Raises `InstallError`.
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
        raise _not_startable(target, error.strerror or str(error), b"") from None
    except subprocess.TimeoutExpired as error:
        raise _not_startable(target, f"importing it takes over {TIMEOUT_S:.0f} s", error.stderr) from None
    try:
        return str(json.loads(done.stdout)["application"])
    except (ValueError, KeyError, TypeError):
        raise _not_startable(target, f"exit status {done.returncode}", done.stderr) from None


def _not_startable(target: str, reason: str, stderr: bytes | None) -> InstallError:
    output = (stderr or b"").decode("utf-8", "replace").rstrip()
    text = f"{target} does not start without this shell's environment, as on a node: {reason}"
    return InstallError(f"{text}\n{output}" if output else text)


def barriers(files: Sequence[str], plugin_dir: Path) -> list[Path]:
    """The folders on the way to *files*, and to the targets of links, that the node's user can't
    enter; each once.
    """
    paths = [Path(path) for file in files for path in (file, os.path.realpath(file))]
    found = [barrier(path, plugin_dir) for path in paths]
    return list(dict.fromkeys(each for each in found if each is not None))


def barrier(path: Path, plugin_dir: Path) -> Path | None:
    """The first folder on the way to *path* that the owner of *plugin_dir* can't enter; None if all
    are open.

    The owner is taken to be the user that runs the node, with no group but the directory's.
    """
    node = plugin_dir.stat()
    if node.st_uid == 0:
        return None
    for folder in reversed(path.parents):
        status = folder.stat()
        if status.st_uid == node.st_uid:
            may_enter = status.st_mode & stat.S_IXUSR
        elif status.st_gid == node.st_gid:
            may_enter = status.st_mode & stat.S_IXGRP
        else:
            may_enter = status.st_mode & stat.S_IXOTH
        if not may_enter:
            return folder
    return None
