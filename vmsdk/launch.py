"""What the file in a plugin directory runs: see `vmsdk.install.launcher`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

# What comes before the handshake counts against the 5 s in which a node wants it: no more than this.
from vmsdk.runtime import plugin

if TYPE_CHECKING:
    from vmsdk.address import Transport
    from vmsdk.vm import ChainVM


def launch(
    *,
    name: str,
    target: str,
    install_command: str,
    protocol: int | None = None,
    ask_parent: bool = True,
    log_level: str = "INFO",
    transport: Transport = "auto",
) -> None:
    """Serve the VM that *target* names, as `vmsdk install` was told; or say its version, if asked for it."""
    options = plugin.Options(name, protocol, ask_parent, log_level, install_command, transport)
    plugin.run(lambda: _load(target), options)


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
