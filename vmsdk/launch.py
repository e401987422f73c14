"""What the file in a plugin directory runs: see `vmsdk.install.launcher`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

# What comes before the handshake counts against the 5 s in which a node wants it: no more than this.
from vmsdk.serve import serve_later

if TYPE_CHECKING:
    from vmsdk.vm import ChainVM


def launch(
    *,
    name: str,
    target: str,
    path: Sequence[str],
    install_command: str,
    protocol: int | None = None,
    ask_parent: bool = True,
    log_level: str = "INFO",
) -> None:
    """Serve the VM that *target* names, as `vmsdk install` was told; or say its version, if asked for it.

    *path* comes before the interpreter's own `sys.path`, in place of the folder of the running file.
    """
    sys.path[:1] = path

    def load() -> ChainVM:
        return _load(target)

    if len(sys.argv) == 2 and _said_version(load, protocol):
        return
    serve_later(
        load,
        name=name,
        protocol_version=protocol,
        ask_parent=ask_parent,
        log_level=log_level,
        install_command=install_command,
    )


def _load(text: str) -> ChainVM:
    from dataclasses import replace
    from pathlib import Path

    from vmsdk import target

    source = target.find(text)
    assert isinstance(source, target.SourceTarget)
    if source.file is None:
        # Where the node happens to run is no place to look for modules: leave the path as it is.
        source = replace(source, root=Path(sys.path[0]))
    return source.load()()


def _said_version(load: Callable[[], ChainVM], protocol: int | None) -> bool:
    from vmsdk.runtime import pluginversion
    from vmsdk.target import TargetError

    try:
        return pluginversion.say(sys.argv[1:], load, protocol)
    except TargetError as error:
        sys.exit(f"vmsdk: {error}")
