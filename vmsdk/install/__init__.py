"""Writes, lists and removes the files in a plugin directory that start VMs."""

from __future__ import annotations

from vmsdk.install.installation import (
    Installed,
    added_path,
    ask_node,
    install,
    name_of,
    node_path,
    uninstall,
)
from vmsdk.install.launcher import InstallError, Launcher
from vmsdk.install.plugindirectory import Entry, PluginDirectory

__all__ = [
    "Entry",
    "InstallError",
    "Installed",
    "Launcher",
    "PluginDirectory",
    "added_path",
    "ask_node",
    "install",
    "name_of",
    "node_path",
    "uninstall",
]
