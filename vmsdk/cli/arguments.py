"""Types of command line arguments, for argparse."""

from __future__ import annotations

import argparse
from pathlib import Path

from vmsdk.errors import VMError
from vmsdk.install.installation import node_path


def filled(text: str) -> str:
    """Text that is not empty, as `"$PLUGINS"` would be if that variable is not set."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty: perhaps a variable in the command is not set")
    return text


def filled_path(text: str) -> Path:
    """A path that is not empty: to Python, an empty one is the current folder."""
    return Path(filled(text))


def filled_node(text: str) -> Path:
    """A node's executable, named as in a shell."""
    return node_path(filled(text))


def content(path: Path | None) -> bytes:
    """The bytes of the file at *path*, or no bytes for None. Raises `VMError`."""
    try:
        return b"" if path is None else path.read_bytes()
    except OSError as error:
        raise VMError(f"can't read {path}: {error.strerror or error}") from None
