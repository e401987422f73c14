"""Controls a running `vmsdk dev` from Python."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from vmsdk.errors import VMError
from vmsdk.ids import ID, NodeID

_TIMEOUT_S = 90.0


class DevClient:
    """Calls the `dev_` methods of the `vmsdk dev` at *url*. See docs/dev.md for each.

    Blocks are dicts with `id`, `parentID`, `height` and `timestamp`. Methods raise `VMError` with
    the error's text, or if there is no response.
    """

    def __init__(self, url: str = "http://127.0.0.1:9650", *, timeout_s: float = _TIMEOUT_S) -> None:
        self._url = url.rstrip("/") + "/ext/dev"
        self._timeout_s = timeout_s
        # A proxy in the environment is not meant for a development chain.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(self, method: str, *params: Any) -> Any:
        """Call a method, such as `dev_mine`, and return its result."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        request = urllib.request.Request(self._url, body.encode(), {"content-type": "application/json"})
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                reply = json.load(response)
        except (OSError, ValueError) as error:
            raise VMError(f"{method}: can't reach vmsdk dev at {self._url}: {error}") from None
        if "error" in reply:
            raise VMError(f"{method}: {reply['error']['message']}")
        return reply["result"]

    def mine(self, blocks: int = 1, interval: float = 0) -> list[dict[str, Any]]:
        """Make blocks now, *interval* seconds apart on the VM's clock."""
        return list(self.call("dev_mine", blocks, interval))

    def set_automine(self, on: bool) -> None:
        """Set whether a block is made whenever the VM has work."""
        self.call("dev_setAutomine", on)

    def set_interval_mining(self, seconds: float) -> None:
        """Make a block every *seconds* instead of automining; 0 turns this off."""
        self.call("dev_setIntervalMining", seconds)

    def propose(self, parent: ID | None = None) -> dict[str, Any]:
        """Build and verify a block without deciding it, on the preferred block or on *parent*."""
        return dict(self.call("dev_propose", None if parent is None else str(parent)))

    def undecided(self) -> list[dict[str, Any]]:
        """Return the undecided blocks; parents come first."""
        return list(self.call("dev_undecided"))

    def preference(self) -> ID:
        """Return the block that the VM builds on."""
        return ID.from_string(self.call("dev_preference"))

    def reorg(self, block_id: ID) -> None:
        """Prefer another undecided block."""
        self.call("dev_reorg", str(block_id))

    def accept(self, block_id: ID | None = None) -> dict[str, list[dict[str, Any]]]:
        """Accept a block, by default the preferred one. Returns `accepted` and `rejected`."""
        return dict(self.call("dev_accept", None if block_id is None else str(block_id)))

    def reject_next(self, blocks: int = 1) -> None:
        """Reject the next blocks that are made."""
        self.call("dev_rejectNext", blocks)

    def increase_time(self, seconds: float) -> int:
        """Move the VM's clock. Returns the offset in seconds."""
        return int(self.call("dev_increaseTime", seconds))

    def set_time(self, timestamp: float) -> int:
        """Set the VM's clock, in Unix seconds. Returns the offset in seconds."""
        return int(self.call("dev_setTime", timestamp))

    def snapshot(self) -> str:
        """Save the chain's state. Returns the snapshot's number."""
        return str(self.call("dev_snapshot"))

    def revert(self, snapshot: str) -> None:
        """Go back to a snapshot."""
        self.call("dev_revert", snapshot)

    def kill(self) -> None:
        """Kill the VM's process and start another."""
        self.call("dev_kill")

    def restart(self) -> None:
        """Shut the VM down and start another process."""
        self.call("dev_restart")

    def fail_database(self, calls: int = 1, message: str = "injected fault") -> None:
        """Make the next calls of the database fail."""
        self.call("dev_failDatabase", calls, message)

    def set_validators(self, validators: Sequence[dict[str, Any]]) -> None:
        """Set the chain's validators: `nodeID`, `weight` and `publicKey` of each."""
        self.call("dev_setValidators", validators)

    def set_p_chain_height(self, height: int, minimum: int | None = None) -> None:
        """Set the P-chain's height, and the one that blocks carry."""
        self.call("dev_setPChainHeight", height, minimum)

    def connect_peer(self, peer: NodeID) -> None:
        """Connect a peer, which sends nothing."""
        self.call("dev_connectPeer", str(peer))

    def disconnect_peer(self, peer: NodeID) -> None:
        """Disconnect a peer."""
        self.call("dev_disconnectPeer", str(peer))

    def app_gossip(self, peer: NodeID, message: bytes) -> None:
        """Gossip to the VM as *peer*."""
        self.call("dev_appGossip", str(peer), "0x" + message.hex())

    def app_request(self, peer: NodeID, message: bytes) -> bytes:
        """Send a request to the VM as *peer*, and return the response."""
        return bytes.fromhex(self.call("dev_appRequest", str(peer), "0x" + message.hex())[2:])

    def sent_messages(self) -> list[dict[str, Any]]:
        """Return what the VM has sent to its peers."""
        return list(self.call("dev_sentMessages"))
