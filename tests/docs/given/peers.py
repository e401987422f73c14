"""The gossip of docs/peers.md is started in a method of a VM."""

from typing import Any

from vmsdk import p2p as p2p

self: Any = None
items: Any = None
item_id: Any = None
raw: Any = None
