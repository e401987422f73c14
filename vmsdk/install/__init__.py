"""The one file by which a node starts a VM: written into a plugin directory, listed, removed."""

from __future__ import annotations

from vmsdk.install.errors import InstallError
from vmsdk.install.installation import Installed, ask_node, install, make_launcher, place, uninstall
from vmsdk.install.launcher import Launcher
from vmsdk.install.plugindirectory import Entry, PluginDirectory

__all__ = [
    "Entry",
    "InstallError",
    "Installed",
    "Launcher",
    "PluginDirectory",
    "ask_node",
    "install",
    "make_launcher",
    "place",
    "uninstall",
]
