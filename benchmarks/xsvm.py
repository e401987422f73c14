"""xsvm in Python beside AvalancheGo's in Go, two chains on one node: `python -m benchmarks.xsvm
--node PATH --plugin PATH`.

The plugin is AvalancheGo's, built from its `vms/example/xsvm/cmd/xsvm`. Several clients send
transfers, one after the other each, to one chain and then to the other.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import psutil
from btclib_secp256k1 import keys

from benchmarks.contenders import ROOT
from benchmarks.table import Row, compare, markdown
from vmsdk import cb58
from vmsdk.network import Chain, LocalNetwork, NewChain, NodeBinary

FOLDER = ROOT / "examples" / "xsvm"
sys.path.insert(0, str(FOLDER))

from xsvm.genesis import Allocation, Genesis  # noqa: E402
from xsvm.transactions import Transaction, Transfer, address_of  # noqa: E402

TARGET = f"{FOLDER / 'xsvm' / 'vm.py'}:XSVM"
CLIENTS = 4
TRANSFERS = 250
"""Of each client in a round."""
ROUNDS = 5
POLL_S = 0.01
KEYS = [bytes(31) + bytes([number]) for number in range(1, CLIENTS + 1)]
ADDRESSES = [address_of(keys.pubkey_from_prvkey(key)) for key in KEYS]


class Load:
    """One chain, the clients that send transfers to it, and the time of its blocks."""

    def __init__(self, network: LocalNetwork, chain: Chain) -> None:
        (self._node,) = network.nodes
        self._chain = chain
        self._nonce = 0
        self.block_times_ms: list[float] = []

    def transfers_per_s(self) -> float:
        """Send the transfers of a round, and wait until all are accepted."""
        work = [self._signed(key) for key in KEYS]
        self._nonce += TRANSFERS
        height = self._chain.height(self._node)
        began = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(self._send, work, ADDRESSES))
        took_s = time.perf_counter() - began
        self.block_times_ms.append(took_s * 1000 / (self._chain.height(self._node) - height))
        return CLIENTS * TRANSFERS / took_s

    def memory_mb(self) -> float:
        """What the chain's plugin has in memory."""
        plugins = psutil.Process(self._node.record.pid).children()
        names = {str(self._chain.vm_id), self._chain.target}
        (found,) = [each for each in plugins if names & {word.rpartition("/")[2] for word in each.cmdline()}]
        return found.memory_info().rss / 2**20

    def _signed(self, key: bytes) -> list[str]:
        chain_id = self._chain.id
        return [
            base64.b64encode(
                Transaction.signed(
                    Transfer(chain_id, self._nonce + number, 0, chain_id, 1, ADDRESSES[0]), key
                ).raw
            ).decode()
            for number in range(TRANSFERS)
        ]

    def _send(self, transactions: list[str], address: bytes) -> None:
        connection = http.client.HTTPConnection(self._node.uri.removeprefix("http://"))
        for transaction in transactions:
            self._call(connection, "issueTx", tx=transaction)
        while int(self._call(connection, "nonce", address=cb58.encode(address))["nonce"]) < self._nonce:
            time.sleep(POLL_S)
        connection.close()

    def _call(self, connection: http.client.HTTPConnection, method: str, **params: str) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": f"xsvm.{method}", "params": params})
        path = self._chain.url(self._node).removeprefix(self._node.uri)
        connection.request("POST", path, body, {"content-type": "application/json"})
        return json.loads(connection.getresponse().read())["result"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.xsvm", description=__doc__)
    parser.add_argument("--node", metavar="PATH", help="the node's binary")
    parser.add_argument("--plugin", metavar="PATH", required=True, help="AvalancheGo's xsvm plugin")
    args = parser.parse_args()
    genesis = Genesis(0, tuple(Allocation(address, 10**12) for address in ADDRESSES)).raw
    new = partial(NewChain, genesis=genesis)
    node = NodeBinary.find(args.node)
    with LocalNetwork(new(TARGET, "python"), new(args.plugin, "go"), node=node.path) as network:
        ours, theirs = (Load(network, chain) for chain in network.chains)
        for load in (ours, theirs):
            load.transfers_per_s()  # a first round that doesn't count
            load.block_times_ms.clear()
        name = f"{node.version.partition(' ')[0]}: transfers"
        rows = [
            compare(
                name, "/s", ours.transfers_per_s, theirs.transfers_per_s, goal="at least 0.4", rounds=ROUNDS
            ),
            _row("a block", "ms", *(statistics.median(load.block_times_ms) for load in (ours, theirs))),
            _row("the plugin's memory", "MB", ours.memory_mb(), theirs.memory_mb()),
        ]
    print(markdown(rows))
    return 0


def _row(name: str, unit: str, ours: float, floor: float) -> Row:
    return Row(name, ours, floor, unit, ours / floor)


if __name__ == "__main__":
    sys.exit(main())
