"""The node's executable: where it is, and which protocol it speaks."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import Self

from vmsdk.network.errors import NetworkError
from vmsdk.network.logs import file_limit_too_low
from vmsdk.protocol import NEWEST, OLDEST, PROTOCOLS
from vmsdk.runtime.release import VERSION_FLAG, Command

NODE_NAMES = ("metalgo", "avalanchego")
NODE_VARIABLE = "VMSDK_NODE"
"""The environment variable that names the node's binary."""
VERSION_TIMEOUT_S = 20.0
"""A node takes 0.1 to 0.3 s, and longer at first, when its 90 MB are read from the disk."""

FILE_LIMIT = 10 * 1024 if sys.platform == "darwin" else 32 * 1024
"""What a node requests by default (AvalancheGo, `utils/ulimit: DefaultFDLimit`)."""
MIN_FILE_LIMIT = 512
"""A node with one chain has some 30 open files and connections, and up to 64 more per database."""


@dataclass(frozen=True)
class NodeBinary:
    """A metalgo or avalanchego executable."""

    path: Path
    """Absolute."""
    version: str
    """What the node prints, such as `avalanchego/1.14.2`."""
    protocol: int
    """The version of the plugin protocol that it speaks."""

    @classmethod
    def find(cls, path: str | os.PathLike[str] | None = None) -> Self:
        """Find the binary and run it for its version.

        It is at `path`, else at the path in the environment variable VMSDK_NODE, else metalgo or
        avalanchego on the PATH. Raises `NetworkError` if there is no node, or vmsdk does not
        support its protocol.
        """
        found = cls._ask(_locate(path))
        if found.protocol not in PROTOCOLS:
            newest = ", ".join(PROTOCOLS[NEWEST].releases)
            fix = "upgrade vmsdk" if found.protocol > NEWEST else "a newer node"
            raise NetworkError(
                f"{found.path} is {found.version}, which speaks protocol {found.protocol}; this vmsdk speaks "
                f"{OLDEST} to {NEWEST} ({newest}): use a node in that range, or {fix}"
            )
        return found

    @classmethod
    def _ask(cls, path: Path) -> Self:
        try:
            release = Command(str(path), [str(path), VERSION_FLAG], os.environ).release(VERSION_TIMEOUT_S)
        except OSError as error:
            raise _not_a_node(path, f"it can't be run ({error.strerror})") from error
        if release is None:
            raise _not_a_node(
                path, f"it did not respond to {VERSION_FLAG} as a node does within {VERSION_TIMEOUT_S:g} s"
            )
        return cls(path, release.application, release.protocol)


def file_limit() -> int:
    """How many files a node may open: its default, or this process's hard limit if it is lower.

    Raises `NetworkError` if the limit is too low for a node.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = FILE_LIMIT if hard == resource.RLIM_INFINITY else min(hard, FILE_LIMIT)
    if limit < MIN_FILE_LIMIT:
        raise file_limit_too_low(limit, MIN_FILE_LIMIT)
    return limit


def _locate(path: str | os.PathLike[str] | None) -> Path:
    named = path or os.environ.get(NODE_VARIABLE) or next(filter(shutil.which, NODE_NAMES), None)
    if named is None:
        raise NetworkError(
            f"there is no metalgo or avalanchego on the PATH: give --node PATH or set {NODE_VARIABLE}"
        )
    found = shutil.which(named) if os.path.basename(named) == os.fspath(named) else None
    located = Path(found or named).expanduser().absolute()
    if not located.exists():
        raise _not_a_node(located, "there is no such file")
    if located.is_dir():
        raise _not_a_node(located, "it is a directory")
    if not os.access(located, os.X_OK):
        raise _not_a_node(located, f"it is not executable (chmod +x {located})")
    return located


def _not_a_node(path: Path, reason: str) -> NetworkError:
    return NetworkError(
        f"{path} is not a node: {reason}; "
        f"give the path of a metalgo or avalanchego binary by --node or {NODE_VARIABLE}"
    )
