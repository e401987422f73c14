"""The timestamp chain, which also talks to its peers and reads what the node knows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "timestamp"))

import timestampvm

import vmsdk
from vmsdk.http import JSONRPC


class SteeredVM(timestampvm.TimestampVM):
    def app_gossip(self, node_id: vmsdk.NodeID, message: bytes) -> None:
        print(f"heard {node_id}: {message!r}")

    def app_request(
        self, node_id: vmsdk.NodeID, request_id: int, deadline: vmsdk.Timestamp, request: bytes
    ) -> bytes:
        if not request:
            raise vmsdk.AppError(7, "an empty request")
        return request[::-1]

    def connected(self, node_id: vmsdk.NodeID, version: Any) -> None:
        print(f"connected {node_id}")

    def create_handlers(self) -> dict[str, Any]:
        methods = {"timestampvm": timestampvm.Service(self), "state": self.state}
        return {"": JSONRPC(methods)}

    def state(self) -> dict[str, Any]:
        validators = self.ctx.validators
        height = validators.get_current_height()
        found = validators.get_validator_set(height, self.ctx.subnet_id)
        return {
            "now": vmsdk.Timestamp.now().seconds,
            "height": height,
            "weights": sorted(each.weight for each in found.values()),
        }


if __name__ == "__main__":
    vmsdk.serve(SteeredVM())
