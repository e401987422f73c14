"""xsvm in Python on real nodes: driven by the tool of AvalancheGo's own xsvm, and on one chain with
it.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.gobuild import GO_IS_MISSING, go_version
from tests.interop.build import XSVM, build
from tests.interop.nodes import NODES
from vmsdk import cb58
from vmsdk.ids import ID
from vmsdk.network import LocalNetwork, NewChain, Node, NodeBinary
from vmsdk.network.wallet import LOCAL_ADDRESS, LOCAL_KEY

pytest.importorskip("btclib_secp256k1", reason="examples/xsvm needs btclib-secp256k1")
FOLDER = Path(__file__).resolve().parents[2] / "examples" / "xsvm"
sys.path.insert(0, str(FOLDER))

from xsvm.blocks import Block  # noqa: E402
from xsvm.genesis import Allocation, Genesis  # noqa: E402
from xsvm.transactions import Export, Import, Transaction, Transfer  # noqa: E402

MakeNetwork = Callable[..., LocalNetwork]

TARGET = f"{FOLDER / 'xsvm' / 'vm.py'}:XSVM"
SUPPLY = 2**64 - 1
OWNER = "6Y3kysjF9jnHnYkdS9yGAuoHyae2eNmeV"
AGGREGATING = f"{Path(__file__).with_name('vms') / 'aggregating.py'}:AggregatingVM"
LATELY = 1_700_000_000
"""After the fork from which on nodes give blocks a P-chain height."""
PEER = ID(b"\7" * 32)
BOB = b"\1" * 20
TRANSFERS = int(os.environ.get("VMSDK_TRANSFERS", "150"))
TOOL_TIMEOUT_S = 60


@pytest.fixture(autouse=True)
def _go() -> None:
    if go_version() is None:
        if os.environ.get("CI"):
            pytest.fail(GO_IS_MISSING)
        pytest.skip(GO_IS_MISSING)


class Chain:
    """A network's chain of xsvm, and its owner, who sends transactions."""

    def __init__(self, network: LocalNetwork, index: int = 0) -> None:
        self.network = network
        self.chain = network.chains[index]
        self.id = self.chain.id
        self.nonce = 0

    def call(self, node: Node, method: str, **arguments: object) -> Any:
        return self.chain.client(node).call(f"xsvm.{method}", **arguments)

    def send(self, unsigned: Transfer | Export | Import, *nodes: Node) -> Transaction:
        """Sign a transaction with the next nonce, and send it to all of *nodes*."""
        signed = Transaction.signed(unsigned, LOCAL_KEY)
        self.nonce += 1
        for node in nodes:
            self.call(node, "issueTx", tx=base64.b64encode(signed.raw).decode())
        return signed

    def transfers(self, count: int, *nodes: Node) -> None:
        """Send as many transfers of 1 to Bob, each to all of *nodes*."""
        for _ in range(count):
            self.send(Transfer(self.id, self.nonce, 0, self.id, 1, BOB), *nodes)

    def await_all(self, *nodes: Node) -> None:
        """Wait until the nodes have accepted all transactions, and check that they agree."""
        for node in nodes:
            height = self.chain.height(node)
            while self.call(node, "nonce", address=OWNER)["nonce"] < self.nonce:
                height += 1
                self.network.wait_for_height(height, chain=self.chain, nodes=[node])
        self.network.wait_for_height(max(map(self.chain.height, nodes)), chain=self.chain, nodes=nodes)
        lasts = [self.call(node, "lastAccepted")["blockID"] for node in nodes]
        assert lasts == lasts[:1] * len(nodes)

    def blocks(self, node: Node) -> list[Block]:
        """All blocks, the newest first."""
        raw = self.call(node, "lastAccepted")["blockBytes"]
        blocks = [Block.from_bytes(base64.b64decode(raw))]
        while blocks[-1].height > 0:
            raw = self.call(node, "block", blockID=str(blocks[-1].parent_id))["blockBytes"]
            blocks.append(Block.from_bytes(base64.b64decode(raw)))
        return blocks


def start(make_network: MakeNetwork, node: NodeBinary, **options: Any) -> Chain:
    genesis = Genesis(0, (Allocation(LOCAL_ADDRESS, SUPPLY),)).raw
    network = make_network(NewChain(TARGET, genesis=genesis), node=node.path, **options)
    network.start()
    return Chain(network)


def tool(release: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run the tool of a release of AvalancheGo."""
    return subprocess.run(
        [str(build(XSVM, NODES[release])), *arguments],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TOOL_TIMEOUT_S,
    )


def test_gos_own_tool_drives_the_chain(node: NodeBinary, make_network: MakeNetwork) -> None:
    printed = tool("45", "chain", "genesis", "--time=0", f"--balance={SUPPLY}", "--encoding=binary").stdout
    assert printed == Genesis(0, (Allocation(LOCAL_ADDRESS, SUPPLY),)).raw
    chain = start(make_network, node)
    (first,) = chain.network.nodes
    where = f"--uri={first.uri}"
    ours = f"--chain-id={chain.id}"

    def account() -> str:
        printed = tool("45", "account", where, ours).stdout.decode()
        return printed.partition(f"{OWNER} has ")[2].strip()

    assert account() == f"{SUPPLY} of {chain.id} with nonce 0"
    # The tool of 1.14.2 refuses every private key, its own default included.
    printed = tool("43", "issue", "transfer", where, ours, "--amount=5", f"--to={OWNER}").stdout
    assert b"issued tx" in printed
    export = tool(
        "43",
        "issue",
        "export",
        where,
        f"--source-chain-id={chain.id}",
        f"--destination-chain-id={PEER}",
        "--amount=7",
    ).stdout.decode()
    match = re.search(r"issued tx (\w+)", export)
    assert match is not None
    assert account() == f"{SUPPLY - 7} of {chain.id} with nonce 2"

    newest, older, genesis = chain.blocks(first)
    assert (newest.height, older.height, genesis.height) == (2, 1, 0)
    (exported,) = newest.transactions
    assert str(exported.id) == match[1]
    assert isinstance(exported.unsigned, Export)
    shown = chain.call(first, "lastAccepted")["block"]
    assert (shown["height"], shown["txs"][0]["unsigned"]["peerChainID"]) == (2, str(PEER))
    assert chain.call(first, "loan", chainID=str(PEER)) == {"amount": 7}
    assert chain.call(first, "message", txID=str(exported.id))["message"]["SourceChainID"] == str(chain.id)


def test_go_and_python_validators_agree_on_one_chain(node: NodeBinary, make_network: MakeNetwork) -> None:
    go_plugin = build(XSVM, NODES[str(node.protocol)])
    chain = start(make_network, node, nodes=3, node_plugins={1: go_plugin})
    go, python, other = chain.network.nodes
    # A node builds blocks only of what it was sent.
    for proposer in (go, python, go, other):
        chain.transfers(15, proposer)
        chain.await_all(go, python, other)
    chain.transfers(TRANSFERS, go, python, other)
    chain.await_all(go, python, other)
    assert (
        chain.call(go, "balance", address=OWNER, assetID=str(chain.id))["balance"] == SUPPLY - 60 - TRANSFERS
    )

    python.kill()
    other.kill()
    chain.transfers(10, go)
    chain.await_all(go)
    late = chain.network.add_node()
    chain.await_all(go, late)
    go.kill()
    second_go = chain.network.add_node(plugin=go_plugin)
    chain.transfers(10, late)
    chain.await_all(late, second_go)
    chain.network.start()
    chain.transfers(10, late)  # who surely has all blocks: others may catch up only now
    chain.await_all(*chain.network.nodes)


@pytest.mark.parametrize(("source", "target"), [("python", "go"), ("go", "python")])
def test_gos_tool_moves_an_asset_to_another_subnet_and_back(
    source: str, target: str, node: NodeBinary, make_network: MakeNetwork
) -> None:
    move_there_and_back(source, target, node, make_network)


def test_gos_tool_moves_an_asset_between_two_chains_in_python(
    any_node: NodeBinary, make_network: MakeNetwork
) -> None:
    move_there_and_back("python", "python2", any_node, make_network)


def move_there_and_back(source: str, target: str, node: NodeBinary, make_network: MakeNetwork) -> None:
    """Export an asset, import it on the other chain, and return it."""
    go_plugin = str(build(XSVM, NODES[str(node.protocol)]))
    genesis = Genesis(LATELY, (Allocation(LOCAL_ADDRESS, SUPPLY),)).raw
    kinds = [go_plugin if name == "go" else TARGET for name in (source, target)]
    network = make_network(
        *(NewChain(kind, name, genesis=genesis) for kind, name in zip(kinds, (source, target), strict=True)),
        node=node.path,
        nodes=2,
        weights=[100, 100],
    )
    network.start()
    first, second = Chain(network), Chain(network, 1)
    nodes = network.nodes

    def issue(on: Chain, kind: str, *arguments: str) -> str:
        where = f"--uri={network.nodes[0].uri}"
        match = re.search(r"issued tx (\w+)", tool("43", "issue", kind, where, *arguments).stdout.decode())
        assert match is not None
        on.nonce += 1
        on.await_all(*nodes)
        return match[1]

    def move(start: Chain, end: Chain, *arguments: str) -> None:
        between = (f"--source-chain-id={start.id}", f"--destination-chain-id={end.id}")
        exported = issue(start, "export", *between, "--amount=7", *arguments)
        sources = f"--source-uris={','.join(each.uri for each in nodes)}"
        issue(end, "import", *between, f"--tx-id={exported}", sources)

    # The first block after the genesis has no P-chain height.
    issue(second, "transfer", f"--chain-id={second.id}", f"--to={OWNER}")
    issue(first, "transfer", f"--chain-id={first.id}", f"--to={OWNER}")
    move(first, second)
    for each in nodes:
        assert second.call(each, "balance", address=OWNER, assetID=str(first.id)) == {"balance": 7}
        assert first.call(each, "loan", chainID=str(second.id)) == {"amount": 7}
    move(second, first, "--is-return")
    for each in nodes:
        assert second.call(each, "balance", address=OWNER, assetID=str(first.id)) == {"balance": 0}
        assert first.call(each, "balance", address=OWNER, assetID=str(first.id)) == {"balance": SUPPLY}
        assert first.call(each, "loan", chainID=str(second.id)) == {"amount": 0}


def test_go_and_python_validators_sign_a_message_by_app_requests(
    node: NodeBinary, make_network: MakeNetwork
) -> None:
    genesis = Genesis(LATELY, (Allocation(LOCAL_ADDRESS, SUPPLY),)).raw
    go_plugin = build(XSVM, NODES[str(node.protocol)])
    network = make_network(
        NewChain(AGGREGATING, genesis=genesis),
        node=node.path,
        nodes=3,
        weights=[50, 30, 20],
        node_plugins={1: go_plugin},
    )
    network.start()
    chain, nodes = Chain(network), network.nodes
    exported = chain.send(Export(chain.id, 0, 0, chain.id, False, 7, BOB), *nodes)
    chain.await_all(*nodes)

    signed = chain.call(nodes[2], "aggregate", txID=str(exported.id))
    assert signed["weight"] == 100
    imported = Import(1, 0, base64.b64decode(signed["message"]))
    chain.send(imported, *nodes)
    chain.await_all(*nodes)
    balances = [
        chain.call(each, "balance", address=cb58.encode(BOB), assetID=str(chain.id)) for each in nodes
    ]
    assert balances == [{"balance": 7}] * 3
