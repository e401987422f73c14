"""The VMs that run on the nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vmsdk.network import LocalNetwork, Node

_HERE = Path(__file__).resolve().parent
TIMESTAMP = f"{_HERE.parents[1] / 'examples' / 'timestamp' / 'timestampvm.py'}:TimestampVM"
CHATTY = f"{_HERE / 'vms' / 'chatty.py'}:ChattyVM"
PICKY = f"{_HERE / 'vms' / 'broken_initialize.py'}:PickyVM"
STUCK = f"{_HERE / 'vms' / 'broken_initialize.py'}:StuckVM"
BROKEN = f"{_HERE / 'vms' / 'broken_import.py'}:BrokenVM"


def propose(network: LocalNetwork, node: Node, data: bytes) -> int:
    """Proposes a block of that data at the node, and waits until it is accepted there; returns its height."""
    height = network.chain.height(node) + 1
    network.chain.client(node).call("timestampvm.proposeBlock", data=f"0x{data.hex()}")
    network.wait_for_height(height, nodes=[node])
    return height


def last_block(network: LocalNetwork, node: Node) -> dict[str, Any]:
    """The last accepted block, as the node's VM tells it."""
    block = network.chain.client(node).call("timestampvm.getBlock")
    assert isinstance(block, dict)
    return block


def data_of(block: dict[str, Any]) -> bytes:
    return bytes.fromhex(block["data"].removeprefix("0x")).rstrip(b"\0")
