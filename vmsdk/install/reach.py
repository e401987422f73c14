"""Whether the node's user can get at what a launcher needs."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path


def barrier(path: Path, plugin_dir: Path) -> Path | None:
    """The first folder on the way to *path* that the owner of *plugin_dir* may not enter; None if
    there is none.

    The owner is taken for the user that runs the node, with no groups but the directory's.
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


def barriers(files: Sequence[str], plugin_dir: Path) -> list[Path]:
    """The folders in the way to any of these files, and to where they lead if they are links; each once."""
    paths = [Path(path) for file in files for path in (file, os.path.realpath(file))]
    found = [barrier(path, plugin_dir) for path in paths]
    return list(dict.fromkeys(each for each in found if each is not None))
