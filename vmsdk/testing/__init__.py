"""Tools for testing VMs, and the checks of the plugin contract.

Names are imported from their modules when they are first used, so that this package needs neither
pytest nor httpx.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmsdk.testing.bench import Bench as Bench
    from vmsdk.testing.blocks import Block as Block
    from vmsdk.testing.chain import Chain as Chain
    from vmsdk.testing.contract import (
        Check as Check,
        Severity as Severity,
        Skipped as Skipped,
        Violation as Violation,
        contract as contract,
    )
    from vmsdk.testing.crash import Inconsistent as Inconsistent, crash_test as crash_test
    from vmsdk.testing.devclient import DevClient as DevClient
    from vmsdk.testing.explore import Failed as Failed, check as check
    from vmsdk.testing.run import Result as Result, Verdict as Verdict, run_checks as run_checks

    _HOMES: dict[str, str]
else:
    _NAMES = {
        "bench": "Bench",
        "blocks": "Block",
        "chain": "Chain",
        "contract": "Check Severity Skipped Violation contract",
        "crash": "Inconsistent crash_test",
        "devclient": "DevClient",
        "explore": "Failed check",
        "run": "Result Verdict run_checks",
    }
    _HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}
    __all__ = list(_HOMES)

    def __getattr__(name: str) -> Any:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'vmsdk.testing' has no attribute {name!r}")
        value = getattr(importlib.import_module(f"vmsdk.testing.{home}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted(__all__)
