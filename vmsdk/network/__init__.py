"""Local networks of real nodes, with your own chain on them.

Names are imported on first use and need the extra `network`: `pip install 'vmsdk[network]'`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmsdk.network.binary import NodeBinary as NodeBinary
    from vmsdk.network.chain import Chain as Chain
    from vmsdk.network.chain import NewChain as NewChain
    from vmsdk.network.client import JSONRPCClient as JSONRPCClient
    from vmsdk.network.errors import NetworkError as NetworkError
    from vmsdk.network.local import LocalNetwork as LocalNetwork
    from vmsdk.network.node import Node as Node
else:
    _HOMES = {
        "Chain": "chain",
        "JSONRPCClient": "client",
        "LocalNetwork": "local",
        "NetworkError": "errors",
        "NewChain": "chain",
        "Node": "node",
        "NodeBinary": "binary",
    }
    __all__ = list(_HOMES)

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)

    def __dir__() -> list[str]:
        return __all__
