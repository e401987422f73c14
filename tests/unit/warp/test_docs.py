"""The examples of docs/warp.md: a message from one VM to another."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

import vmsdk
from vmsdk import warp
from vmsdk.context import Context
from vmsdk.errors import InvalidWarpMessage
from vmsdk.ids import ID
from vmsdk.nodeservices import NodeServices, ValidatorState, WarpValidatorSet

from .messages import NETWORK_ID, X
from .nodes import Subnet

PAGE = Path(__file__).parents[3] / "docs" / "warp.md"
HEIGHT = 7


class Node(Subnet):
    """A node whose P-chain knows one subnet: that of chain X."""

    def __init__(self, *weights: int) -> None:
        super().__init__(*weights)
        self.state = cast(ValidatorState, self)

    def get_current_height(self) -> int:
        return HEIGHT

    def get_subnet_id(self, chain_id: ID) -> ID:
        assert chain_id == X
        return ID.EMPTY

    def get_warp_validator_set(self, height: int, subnet_id: ID) -> WarpValidatorSet:
        assert (height, subnet_id) == (HEIGHT, ID.EMPTY)
        return super().validators


class Services:
    """The services of a node that validators share."""

    def __init__(self, node: Node, number: int) -> None:
        self.validators = node.state
        self.sender = node.sender
        self.warp_signer = list(node.signers.values())[number].warp_signer


@pytest.fixture
def example() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
        exec(code, names)
    names["SendingVM"].__abstractmethods__ = frozenset()
    names["ReceivingBlock"].__abstractmethods__ = frozenset()
    return names


@pytest.mark.warp
def test_a_message_is_sent_signed_and_received(example: dict[str, Any]) -> None:
    node = Node(1, 1, 1)
    vms = []
    for number, signer in enumerate(node.signers.values()):
        ctx = Context(network_id=NETWORK_ID, chain_id=X, services=cast(NodeServices, Services(node, number)))
        vm = example["SendingVM"]()
        vm.ctx = ctx
        vm.initialize(ctx, b"", b"", b"")
        node.respond[signer.node_id] = partial(respond, vm)
        vms.append(vm)
    node.network = vms[0].network
    messages = [vm.send(b"Alice", b"hello") for vm in vms]
    assert len(set(messages)) == 1
    signed = vms[0].signed(messages[0])

    receiver = replace(vms[0].ctx, chain_id=ID.of(b"receiver"))
    block = example["ReceivingBlock"](receiver, signed.encode())
    block.verify_with_context(HEIGHT)

    never_sent = warp.UnsignedMessage(NETWORK_ID, X, b"never sent")
    with pytest.raises(warp.QuorumNotReached, match="this message was not accepted"):
        vms[0].signed(never_sent)
    forged = warp.Message(never_sent, signed.signature)
    with pytest.raises(InvalidWarpMessage, match="signature is invalid"):
        example["ReceivingBlock"](receiver, forged.encode()).verify_with_context(HEIGHT)


def respond(vm: Any, request: bytes) -> bytes | vmsdk.AppError:
    try:
        response: bytes = vm.app_request(vm.ctx.node_id, 1, vmsdk.Timestamp(5), b"\2" + request)
    except vmsdk.AppError as error:
        return error
    return response
