"""The token chain on three nodes: each transfer is in one block, and all nodes have the same state,
also one that was killed meanwhile.

    VMSDK_TRANSFERS=5000 python -m pytest tests/network/test_tokens.py
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vmsdk.chain import keys
from vmsdk.ids import ID
from vmsdk.network import LocalNetwork, NewChain, NodeBinary

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "tokens"
TARGET = f"{EXAMPLE / 'tokensvm.py'}:TokensVM"
TRANSFERS = int(os.environ.get("VMSDK_TRANSFERS", "300"))
SENDERS = 6
BURST = 50
AMOUNT = 3
FEE = 10
BALANCE = 1_000_000
TIMEOUT_S = 120.0
POLL_S = 0.05

pytestmark = pytest.mark.usefixtures("example")


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    for name in ("tokensvm", "tokensapi", "tokenswallet"):
        sys.modules.pop(name, None)


def test_transfers_in_bursts_over_three_nodes_of_which_one_is_killed(
    make_network: Callable[..., LocalNetwork], any_node: NodeBinary
) -> None:
    from tokensvm import Transfer
    from tokenswallet import Node

    signers = [keys.Ed25519Key.generate() for _ in range(SENDERS)]
    recipient = bytes(19) + b"\1"
    genesis = json.dumps({signer.address.hex(): BALANCE for signer in signers}).encode()
    network = make_network(NewChain(TARGET, genesis=genesis), nodes=3, node=any_node.path)
    network.start()
    chain = network.chain
    apis = {node.name: Node(f"{chain.url(node)}/api") for node in network.nodes}
    chain_id = ID.from_string(apis["node1"].get("/chain")["chain_id"])

    unsent = [
        Transfer(recipient, AMOUNT, FEE, nonce).sign(signer, chain_id)
        for nonce in range(TRANSFERS // SENDERS)
        for signer in signers
    ]
    victim = network.nodes[1]
    kill_at, start_at = len(unsent) // 3, 2 * len(unsent) // 3
    for turn, start in enumerate(range(0, len(unsent), BURST)):
        if kill_at <= start < kill_at + BURST:
            victim.kill()
        if start_at <= start < start_at + BURST:
            victim.start()
        running = [node for node in network.nodes if node.status == "running"]
        api = apis[running[turn % len(running)].name]
        for result in api.get(
            "/transfers", {"raw": [each.raw.hex() for each in unsent[start : start + BURST]]}
        ):
            assert result["error"] is None, result

    # What waited in the mempool of the node that was killed, and nowhere else, is sent again.
    deadline = time.monotonic() + TIMEOUT_S
    apis = {node.name: Node(f"{chain.url(node)}/api") for node in network.nodes}
    expected = len(unsent) * AMOUNT
    while True:
        balances = {name: api.get(f"/accounts/{recipient.hex()}")["balance"] for name, api in apis.items()}
        if set(balances.values()) == {expected}:
            break
        assert time.monotonic() < deadline, balances
        for start in range(0, len(unsent), 1_000):
            raws = [each.raw.hex() for each in unsent[start : start + 1_000]]
            apis["node1"].get("/transfers", {"raw": raws})
        time.sleep(POLL_S)

    heights = {name: api.get("/chain")["height"] for name, api in apis.items()}
    assert len(set(heights.values())) == 1
    seen: list[str] = []
    for height in range(heights["node1"] + 1):
        first, *others = (api.get(f"/blocks/{height}") for api in apis.values())
        assert others == [first, first]
        seen += [each["id"] for each in first["transfers"]]
    assert sorted(seen) == sorted(str(each.id) for each in unsent)
    for signer in signers:
        accounts = [api.get(f"/accounts/{signer.address.hex()}") for api in apis.values()]
        count = TRANSFERS // SENDERS
        assert [(each["balance"], each["nonce"]) for each in accounts] == [
            (BALANCE - count * (AMOUNT + FEE), count)
        ] * 3


def test_a_transfer_sent_to_one_node_is_gossiped_and_read_from_all(
    make_network: Callable[..., LocalNetwork], any_node: NodeBinary
) -> None:
    from tokenswallet import Node, send

    signer = keys.Secp256k1Key.generate()
    network = make_network(
        NewChain(TARGET, genesis=json.dumps({signer.address.hex(): BALANCE}).encode()),
        nodes=3,
        node=any_node.path,
    )
    network.start()
    apis = [Node(f"{network.chain.url(node)}/api") for node in network.nodes]
    sent = send(apis[2], signer, bytes(20), 500)
    network.wait_for_height(1)
    for api in apis:
        assert api.get(f"/transfers/{sent}") == {"status": "accepted", "height": 1}
        assert api.get(f"/accounts/{bytes(20).hex()}")["balance"] == 500
