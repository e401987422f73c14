"""Write blockchain virtual machines in Python and run them on MetalGo and AvalancheGo nodes.

class Counter(vmsdk.ChainVM): ...

if __name__ == "__main__":
    vmsdk.serve(Counter())
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vmsdk._version import __version__

if TYPE_CHECKING:
    from vmsdk.block import Block, VerifyWithContext
    from vmsdk.context import Context
    from vmsdk.database import Database
    from vmsdk.errors import AppError, Closed, Fatal, InvalidBlock, NotFound, NothingToBuild, VMError
    from vmsdk.events import Event
    from vmsdk.ids import ID, NodeID
    from vmsdk.serving import serve
    from vmsdk.state import State
    from vmsdk.statesync import StateSummary, StateSyncableVM, StateSyncMode
    from vmsdk.timestamp import Timestamp
    from vmsdk.vm import (
        BatchedParseBlock,
        BuildBlockWithContext,
        ChainVM,
        CrossChainVM,
        GetAncestors,
        NodeVersion,
    )

# Where each public name lives. Imported at first use, so that `import vmsdk` costs nothing.
_HOMES = {
    "AppError": "errors",
    "BatchedParseBlock": "vm",
    "Block": "block",
    "BuildBlockWithContext": "vm",
    "ChainVM": "vm",
    "Closed": "errors",
    "Context": "context",
    "CrossChainVM": "vm",
    "Database": "database",
    "Event": "events",
    "Fatal": "errors",
    "GetAncestors": "vm",
    "ID": "ids",
    "InvalidBlock": "errors",
    "NodeID": "ids",
    "NodeVersion": "vm",
    "NotFound": "errors",
    "NothingToBuild": "errors",
    "State": "state",
    "StateSummary": "statesync",
    "StateSyncMode": "statesync",
    "StateSyncableVM": "statesync",
    "Timestamp": "timestamp",
    "VMError": "errors",
    "VerifyWithContext": "block",
    "serve": "serving",
}

__all__ = [
    "ID",
    "AppError",
    "BatchedParseBlock",
    "Block",
    "BuildBlockWithContext",
    "ChainVM",
    "Closed",
    "Context",
    "CrossChainVM",
    "Database",
    "Event",
    "Fatal",
    "GetAncestors",
    "InvalidBlock",
    "NodeID",
    "NodeVersion",
    "NotFound",
    "NothingToBuild",
    "State",
    "StateSummary",
    "StateSyncMode",
    "StateSyncableVM",
    "Timestamp",
    "VMError",
    "VerifyWithContext",
    "__version__",
    "serve",
]


if not TYPE_CHECKING:  # or type checkers would take any misspelt name for one that this function finds

    def __getattr__(name: str) -> Any:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'vmsdk' has no attribute {name!r}")
        value = getattr(importlib.import_module(f"vmsdk.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
