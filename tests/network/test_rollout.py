"""A new plugin is rolled out over five validators, one at a time, during transfers: the recipe
of docs/upgrades.md.

    VMSDK_TRANSFERS=200 python -m pytest tests/network/test_rollout.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vmsdk.chain import keys
from vmsdk.ids import ID
from vmsdk.network import LocalNetwork, NewChain, NodeBinary
from vmsdk.network.errors import NetworkError

from .targets import lines_until

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parents[1] / "examples" / "tokens"
VERSIONS = HERE / "vms" / "rollout.py"
RECIPIENT = bytes(19) + b"\1"
TRANSFERS = int(os.environ.get("VMSDK_TRANSFERS", "50"))
BURST = TRANSFERS // 5
FEE = 10
BALANCE = 1_000_000
TIMEOUT_S = 120.0
POLL_S = 0.05


def install(version: str, folder: Path) -> Path:
    """The plugin of this version of the VM, as `vmsdk install` writes it."""
    vmsdk = Path(sys.executable).with_name("vmsdk")
    folder.mkdir()
    subprocess.run([vmsdk, "install", f"{VERSIONS}:{version}", "--plugin-dir", folder], check=True)
    (plugin,) = folder.iterdir()
    return plugin


@pytest.mark.timeout(900)
def test_five_validators_get_a_new_plugin_one_at_a_time_with_transfers_in_flight(
    make_network: Callable[..., LocalNetwork],
    any_node: NodeBinary,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    for name in ("tokensvm", "tokensapi", "tokenswallet"):
        sys.modules.pop(name, None)
    from tokensvm import Transfer
    from tokenswallet import Node

    from .vms.rollout import TREASURY

    v1, v2 = install("TokensV1", tmp_path / "v1"), install("TokensV2", tmp_path / "v2")
    plugins = {number: tmp_path / f"plugin{number}" for number in range(1, 6)}
    for plugin in plugins.values():
        shutil.copy(v1, plugin)
    signer = keys.Ed25519Key.generate()
    genesis = json.dumps({signer.address.hex(): BALANCE}).encode()
    network = make_network(
        NewChain(f"{VERSIONS}:TokensV1", genesis=genesis),
        nodes=5,
        node=any_node.path,
        node_plugins=plugins,
    )
    network.start()
    nodes, chain = network.nodes, network.chain

    def api(number: int) -> Node:
        return Node(f"{chain.url(nodes[number - 1])}/api")

    chain_id = ID.from_string(api(1).get("/chain")["chain_id"])
    sent: list[Any] = []

    def send(number: int, count: int) -> None:
        """Submit transfers to one node, without waiting for a block."""
        new = [Transfer(RECIPIENT, 1, FEE, len(sent) + n).sign(signer, chain_id) for n in range(count)]
        sent.extend(new)
        results = api(number).get("/transfers", {"raw": [each.raw.hex() for each in new]})
        assert [each["error"] for each in results] == [None] * count

    def settle(*numbers: int) -> int:
        """Wait until these nodes have every transfer in a block; returns the fees collected."""
        deadline = time.monotonic() + TIMEOUT_S
        while any(api(n).get(f"/accounts/{RECIPIENT.hex()}")["balance"] < len(sent) for n in numbers):
            assert time.monotonic() < deadline, "some transfers are in no block"
            # What waited only in the mempool of a node that was restarted is sent again.
            api(numbers[0]).get("/transfers", {"raw": [each.raw.hex() for each in sent]})
            time.sleep(POLL_S)
        # The VM shows a block's balances before its node counts the block.
        settled = [nodes[n - 1] for n in numbers]
        height = max(api(n).get("/chain")["height"] for n in numbers)
        network.wait_for_height(height, nodes=settled, timeout_s=TIMEOUT_S)
        assert {chain.height(node) for node in settled} == {height}
        collected: int = api(numbers[0]).get(f"/accounts/{TREASURY.hex()}")["balance"]
        return collected

    def restart(number: int, plugin: Path) -> None:
        """What the operator does: stop the node, replace the plugin, start the node."""
        node = nodes[number - 1]
        node.stop()
        shutil.copy(plugin, tmp_path / "new")
        (tmp_path / "new").replace(plugins[number])
        node.start()

    # Each transfer makes one block at most, so the rollout is over before the upgrade activates.
    activation = chain.height(nodes[0]) + TRANSFERS + 1
    upgrade = json.dumps({"upgrades": [{"name": "fees-v2", "height": activation}]}).encode()
    network._store.write_chain_config(str(chain.id), None, upgrade)
    for number in (1, 2, 3, 4):
        send(number % 5 + 1, BURST)
        restart(number, v2)
        lines_until(chain.log(nodes[number - 1]), f"the upgrade fees-v2 activates at height {activation}")
    send(1, TRANSFERS - 4 * BURST)
    assert settle(1, 2, 3, 4, 5) == 0

    # Up to the activation all nodes agree. From there on, node 5 refuses the others' blocks.
    while (height := chain.height(nodes[0])) < activation:
        send(1, 1)
        network.wait_for_height(height + 1, nodes=nodes[:4], timeout_s=TIMEOUT_S)
    assert chain.height(nodes[4]) < activation
    lines_until(chain.log(nodes[4]), "update the older one")
    collected = settle(1, 2, 3, 4)
    assert collected >= FEE

    # With the upgrade file, the old plugin does not even start the chain, and says why.
    nodes[4].stop()
    with pytest.raises(NetworkError, match=r"does not know \(it knows none\): update the plugin"):
        nodes[4].start()

    # The new plugin catches up, and all five have the same blocks, with each transfer in one.
    restart(5, v2)
    send(5, BURST)
    assert settle(1, 2, 3, 4, 5) == collected + BURST * FEE
    seen: list[str] = []
    for height in range(chain.height(nodes[0]) + 1):
        first, *others = (api(number).get(f"/blocks/{height}") for number in plugins)
        assert others == [first] * 4
        seen += [each["id"] for each in first["transfers"]]
    assert seen == [str(each.id) for each in sent]
