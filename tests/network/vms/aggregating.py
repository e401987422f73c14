"""xsvm that collects the validators' signatures of an export itself, by app requests."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

from vmsdk import warp
from vmsdk.http import JSONRPC
from vmsdk.ids import ID

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "examples" / "xsvm"))

from xsvm import state as states
from xsvm.api import Service
from xsvm.vm import XSVM


class AggregatingVM(XSVM):
    def create_handlers(self) -> dict[str, Any]:
        return {"": JSONRPC({"xsvm": AggregatingService(self)})}


class AggregatingService(Service):
    def aggregate(self, tx_id: ID) -> dict[str, Any]:
        """The message of an export, signed by every validator of this chain."""
        vm = self._vm
        message = warp.UnsignedMessage.decode(states.get_message(vm.accepted, tx_id))
        validators = warp.canonical_set(vm.ctx, vm.ctx.chain_id, vm.ctx.validators.get_current_height())
        signed = warp.Aggregator(vm.network).aggregate(message, validators, quorum_num=1, quorum_den=1)
        weight = sum(validators.validators[index].weight for index in signed.signature.indices)
        return {"message": base64.b64encode(signed.encode()).decode(), "weight": weight}
