"""The VM's side of the wire: gRPC calls in, the author's methods, gRPC responses out.

Importing it imports gRPC so that apps can fork. From grpcio 1.80 on, threads of its C core read the
sockets of a server, and one in three children forked meanwhile crashes. With the experiment
`event_engine_listener` turned off, the threads that wait for calls read them, as before.
"""

from __future__ import annotations

import os
import re
from importlib.util import find_spec

_EXPERIMENTS = "GRPC_EXPERIMENTS"
# The core complains on stderr about unknown experiments. These versions know this one.
_KNOWN_VERSIONS = range(76, 86)


def _import_grpc() -> None:
    # The core reads the variable when it is loaded. Child processes need not inherit it.
    if _EXPERIMENTS in os.environ or _minor_version() not in _KNOWN_VERSIONS:
        return
    os.environ[_EXPERIMENTS] = "-event_engine_listener"
    try:
        import grpc  # noqa: F401
    finally:
        del os.environ[_EXPERIMENTS]


def _minor_version() -> int | None:
    """The minor version of grpcio 1, from its file: its metadata would take longer."""
    spec = find_spec("grpc")
    if spec is None or spec.origin is None:
        return None
    path = os.path.join(os.path.dirname(spec.origin), "_grpcio_metadata.py")
    try:
        with open(path, "rb") as file:
            found = re.search(rb"1\.(\d+)\.", file.read())
    except OSError:
        return None
    return int(found[1]) if found else None


_import_grpc()
