"""One chain of a local network."""

from __future__ import annotations

from pathlib import Path

from vmsdk.ids import ID
from vmsdk.network.client import JSONRPCClient
from vmsdk.network.node import Node
from vmsdk.network.state import ChainRecord


class Chain:
    """A chain as one or another node serves it."""

    def __init__(self, record: ChainRecord) -> None:
        self._record = record

    def __repr__(self) -> str:
        return f"<Chain {self.name} {self.id}>"

    @property
    def name(self) -> str:
        """Its name, and its alias in URLs."""
        return self._record.name

    @property
    def id(self) -> ID:
        return ID.from_string(self._record.chain_id)

    @property
    def vm_id(self) -> ID:
        return ID.from_string(self._record.vm_id)

    @property
    def target(self) -> str:
        """What it was made from, as it was given."""
        return self._record.target

    def url(self, node: Node) -> str:
        """Where the node serves what the VM serves: `http://127.0.0.1:9650/ext/bc/timestampvm`."""
        return f"{node.uri}{self.path}"

    @property
    def path(self) -> str:
        return f"/ext/bc/{self.name}"

    def client(self, node: Node, path: str = "") -> JSONRPCClient:
        """A client of the JSON-RPC methods that the VM serves at `path` (`/rpc`) on the node."""
        return JSONRPCClient(self.url(node) + path)

    def height(self, node: Node) -> int:
        """The height of the last block that the node has accepted; 0 where the node has not told yet.

        Raises:
            NodeUnreachable: the node does not answer.
        """
        values = node.metrics("_snowman_last_accepted_height", chain=self.name)
        return int(values[0]) if values else 0

    def log(self, node: Node) -> Path:
        """The node's log of the chain, which holds all that the VM logs and prints."""
        return node.directory / "logs" / f"{self.name}.log"
