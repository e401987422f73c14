"""The VMs that run on the nodes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from vmsdk.network import LocalNetwork, Node
from vmsdk.network.logs import LogFile

_HERE = Path(__file__).resolve().parent
TIMESTAMP = f"{_HERE.parents[1] / 'examples' / 'timestamp' / 'timestampvm.py'}:TimestampVM"
CHATTY = f"{_HERE / 'vms' / 'chatty.py'}:ChattyVM"
PICKY = f"{_HERE / 'vms' / 'broken_initialize.py'}:PickyVM"
STUCK = f"{_HERE / 'vms' / 'broken_initialize.py'}:StuckVM"
MORTAL = f"{_HERE / 'vms' / 'broken_initialize.py'}:MortalVM"
DOOMED = f"{_HERE / 'vms' / 'broken_initialize.py'}:DoomedVM"
RESIGNED = f"{_HERE / 'vms' / 'broken_initialize.py'}:ResignedVM"
UNSERVED = f"{_HERE / 'vms' / 'broken_initialize.py'}:UnservedVM"
BROKEN = f"{_HERE / 'vms' / 'broken_import.py'}:BrokenVM"
ARCHIVE = f"{_HERE / 'vms' / 'archive.py'}:ArchiveVM"
SHORT = _HERE.parent / "process" / "plugins" / "short.py"
WAITING = f"{_HERE / 'vms' / 'waiting.py'}:WaitingVM"
LOG_TIMEOUT_S = 60.0
LOG_POLL_S = 0.02


def propose(network: LocalNetwork, node: Node, data: bytes) -> int:
    """Proposes a block of that data at the node, and waits until it is accepted there; returns its
    height.
    """
    height = network.chain.height(node) + 1
    network.chain.client(node).call("timestampvm.proposeBlock", data=f"0x{data.hex()}")
    network.wait_for_height(height, nodes=[node])
    return height


def last_block(network: LocalNetwork, node: Node) -> dict[str, Any]:
    """The last accepted block, as the node's VM reports it."""
    block = network.chain.client(node).call("timestampvm.getBlock")
    assert isinstance(block, dict)
    return block


def data_of(block: dict[str, Any]) -> bytes:
    return bytes.fromhex(block["data"].removeprefix("0x")).rstrip(b"\0")


def lines_until(log: Path, *texts: str) -> list[str]:
    """The lines of a log up to where each of the texts has been in one; they may be still to
    come.
    """
    deadline = time.monotonic() + LOG_TIMEOUT_S
    missing = set(texts)
    reader = LogFile(log)
    lines: list[str] = []
    while missing:
        assert time.monotonic() < deadline, f"{missing} did not come; there came:\n" + "\n".join(lines)
        for line in reader.new_lines():
            if missing:
                lines.append(line)
            missing -= {text for text in missing if text in line}
        time.sleep(LOG_POLL_S)
    return lines
