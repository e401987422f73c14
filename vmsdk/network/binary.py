"""The node's binary: where it is, and what it speaks."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import Self

from vmsdk.network.errors import NODE_VARIABLE, FileLimitTooLow, NodeNotFound, UnsupportedNode
from vmsdk.protocol import PROTOCOLS
from vmsdk.runtime.release import VERSION_FLAG, VersionQuestion

NODE_NAMES = ("metalgo", "avalanchego")
VERSION_TIMEOUT_S = 20.0
"""A node answers in 0.1 to 0.3 s; the first time, its 90 MB are read from the disk."""

FILE_LIMIT = 10 * 1024 if sys.platform == "darwin" else 32 * 1024
"""What a node asks the system for unless told otherwise (AvalancheGo, `utils/ulimit: DefaultFDLimit`)."""
MIN_FILE_LIMIT = 512
"""A node with one chain holds some 30 files and connections, its databases keep up to 64 more open each, and callers come on top."""


@dataclass(frozen=True)
class NodeBinary:
    """A metalgo or avalanchego executable."""

    path: Path
    """Absolute."""
    version: str
    """As the node says it: `avalanchego/1.14.2`."""
    protocol: int
    """The plugin protocol that it speaks."""

    @classmethod
    def find(cls, path: str | os.PathLike[str] | None = None) -> Self:
        """Finds the binary at `path`, else the one that the environment variable VMSDK_NODE names, else metalgo or avalanchego on
        the PATH, and asks it for its version.

        Raises:
            NodeNotFound: none is there, or what is there does not answer as a node.
            UnsupportedNode: its protocol is not one that this vmsdk speaks.
        """
        found = cls._ask(_locate(path))
        if found.protocol not in PROTOCOLS:
            raise UnsupportedNode(found.path, found.version, found.protocol)
        return found

    @classmethod
    def _ask(cls, path: Path) -> Self:
        try:
            release = VersionQuestion(str(path), environment=os.environ).answer(VERSION_TIMEOUT_S)
        except OSError as error:
            raise NodeNotFound(path, f"it cannot be run ({error.strerror})") from error
        if release is None:
            raise NodeNotFound(
                path, f"within {VERSION_TIMEOUT_S:g} s it does not answer {VERSION_FLAG} as a node does"
            )
        return cls(path, release.application, release.protocol)


def file_limit() -> int:
    """How many files to let a node open: what it would ask for, or the system's limit for this process where that is lower.

    Raises:
        FileLimitTooLow: the limit is too low for a node.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = FILE_LIMIT if hard == resource.RLIM_INFINITY else min(hard, FILE_LIMIT)
    if limit < MIN_FILE_LIMIT:
        raise FileLimitTooLow(limit, MIN_FILE_LIMIT)
    return limit


def _locate(path: str | os.PathLike[str] | None) -> Path:
    named = path or os.environ.get(NODE_VARIABLE)
    if not named:
        return _search_path()
    found = shutil.which(named) if os.path.basename(named) == os.fspath(named) else None
    located = Path(found or named).expanduser().absolute()
    if not located.exists():
        raise NodeNotFound(located)
    if located.is_dir():
        raise NodeNotFound(located, "it is a directory")
    if not os.access(located, os.X_OK):
        raise NodeNotFound(located, f"it is not executable (chmod +x {located})")
    return located


def _search_path() -> Path:
    for name in NODE_NAMES:
        found = shutil.which(name)
        if found:
            return Path(found).absolute()
    raise NodeNotFound
