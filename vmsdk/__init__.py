"""Write blockchain virtual machines in Python and run them on MetalGo and AvalancheGo nodes.

```python
class Counter(vmsdk.ChainVM): ...


if __name__ == "__main__":
    vmsdk.serve(Counter())
```
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vmsdk._version import __version__ as __version__

if TYPE_CHECKING:
    from vmsdk.block import Block as Block, VerifyWithContext as VerifyWithContext
    from vmsdk.context import Context as Context
    from vmsdk.database import Batch as Batch, Database as Database
    from vmsdk.errors import (
        AppError as AppError,
        Closed as Closed,
        Fatal as Fatal,
        InvalidBlock as InvalidBlock,
        InvalidInput as InvalidInput,
        NotFound as NotFound,
        NothingToBuild as NothingToBuild,
        VMError as VMError,
    )
    from vmsdk.ids import ID as ID, NodeID as NodeID
    from vmsdk.memorydb import MemoryDatabase as MemoryDatabase
    from vmsdk.serving import serve as serve
    from vmsdk.state import Event as Event, State as State
    from vmsdk.statesync import (
        StateSummary as StateSummary,
        StateSyncableVM as StateSyncableVM,
        StateSyncMode as StateSyncMode,
    )
    from vmsdk.timestamp import Timestamp as Timestamp
    from vmsdk.vm import (
        BatchedParseBlock as BatchedParseBlock,
        BuildBlockWithContext as BuildBlockWithContext,
        ChainVM as ChainVM,
        CrossChainVM as CrossChainVM,
        GetAncestors as GetAncestors,
        NodeVersion as NodeVersion,
    )

    _HOMES: dict[str, str]
else:
    # The same names by module. Imported at first use, so that `import vmsdk` costs nothing.
    _NAMES = {
        "block": "Block VerifyWithContext",
        "context": "Context",
        "database": "Batch Database",
        "errors": "AppError Closed Fatal InvalidBlock InvalidInput NotFound NothingToBuild VMError",
        "ids": "ID NodeID",
        "memorydb": "MemoryDatabase",
        "serving": "serve",
        "state": "Event State",
        "statesync": "StateSummary StateSyncableVM StateSyncMode",
        "timestamp": "Timestamp",
        "vm": "BatchedParseBlock BuildBlockWithContext ChainVM CrossChainVM GetAncestors NodeVersion",
    }
    _HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}
    __all__ = ["__version__"]
    __all__.extend(_HOMES)

    def __getattr__(name: str) -> Any:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'vmsdk' has no attribute {name!r}")
        value = getattr(importlib.import_module(f"vmsdk.{home}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted(__all__)
