"""A complete chain: its author writes only the rules.

    class GuestBook(chain.Chain):
        def execute(self, state, tx, block): ...

`Chain` combines the modules of this package. A `ChainVM` can also use each of them alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmsdk.chain.accepted import AcceptedState as AcceptedState, Snapshot as Snapshot
    from vmsdk.chain.block import Block as Block, Event as Event, Header as Header
    from vmsdk.chain.chain import Chain as Chain
    from vmsdk.chain.derived import Follower as Follower
    from vmsdk.chain.determinism import (
        Nondeterministic as Nondeterministic,
        check_determinism as check_determinism,
    )
    from vmsdk.chain.encoding import (
        I8 as I8,
        I16 as I16,
        I32 as I32,
        I64 as I64,
        U8 as U8,
        U16 as U16,
        U32 as U32,
        U64 as U64,
        U128 as U128,
        U256 as U256,
        Bytes20 as Bytes20,
        Bytes32 as Bytes32,
        Fixed as Fixed,
        Max as Max,
    )
    from vmsdk.chain.errors import (
        Invalid as Invalid,
        MempoolFull as MempoolFull,
        NotYet as NotYet,
        SnapshotUnavailable as SnapshotUnavailable,
    )
    from vmsdk.chain.feed import Feed as Feed
    from vmsdk.chain.history import (
        History as History,
        LoggedEvent as LoggedEvent,
        Outcomes as Outcomes,
        Receipt as Receipt,
    )
    from vmsdk.chain.limits import Limits as Limits
    from vmsdk.chain.mempool import Mempool as Mempool, Pending as Pending
    from vmsdk.chain.sqlitefollower import SQLiteFollower as SQLiteFollower
    from vmsdk.chain.state import Overlay as Overlay, State as State
    from vmsdk.chain.statesync import SyncableChain as SyncableChain
    from vmsdk.chain.tables import Counter as Counter, Table as Table
    from vmsdk.chain.transactions import (
        Address as Address,
        Signed as Signed,
        Transaction as Transaction,
    )
else:
    # The same names by module, imported at first use.
    _NAMES = {
        "accepted": "AcceptedState Snapshot",
        "block": "Block Event Header",
        "chain": "Chain",
        "derived": "Follower",
        "determinism": "Nondeterministic check_determinism",
        "encoding": "I8 I16 I32 I64 U8 U16 U32 U64 U128 U256 Bytes20 Bytes32 Fixed Max",
        "errors": "Invalid MempoolFull NotYet SnapshotUnavailable",
        "feed": "Feed",
        "history": "History LoggedEvent Outcomes Receipt",
        "limits": "Limits",
        "mempool": "Mempool Pending",
        "sqlitefollower": "SQLiteFollower",
        "state": "Overlay State",
        "statesync": "SyncableChain",
        "tables": "Counter Table",
        "transactions": "Address Signed Transaction",
    }
    _HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}
    __all__ = list(_HOMES)

    def __getattr__(name: str) -> Any:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'vmsdk.chain' has no attribute {name!r}")
        value = getattr(importlib.import_module(f"vmsdk.chain.{home}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted(__all__)
