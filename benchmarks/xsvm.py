"""xsvm in Python beside AvalancheGo's in Go, two chains on one node: `python -m benchmarks.xsvm
--node PATH --plugin PATH`.

The plugin is AvalancheGo's, built from its `vms/example/xsvm/cmd/xsvm`. Four
connections pipeline transfers to one chain and then to the other, so that the clients, which share
the machine, cost little. The CPU time is what other work on the machine affects least.
"""

from __future__ import annotations

import argparse
import base64
import json
import socket
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

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
TIMEOUT_S = 60.0
KEYS = [bytes(31) + bytes([number]) for number in range(1, CLIENTS + 1)]
ADDRESSES = [address_of(keys.pubkey_from_prvkey(key)) for key in KEYS]


class Load:
    """One chain, the clients that send transfers to it, and the time of its blocks."""

    def __init__(self, network: LocalNetwork, chain: Chain) -> None:
        (self._node,) = network.nodes
        self._chain = chain
        self._nonce = 0
        self.block_times_ms: list[float] = []
        self.cpu_ms: list[float] = []
        """The plugin's CPU time for one transfer."""

    def transfers_per_s(self) -> float:
        """Send the transfers of a round, and wait until all are accepted."""
        work = [self._signed(key) for key in KEYS]
        self._nonce += TRANSFERS
        height, cpu_s = self._chain.height(self._node), self._cpu_s()
        began = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(self._send, work, ADDRESSES))
        took_s = time.perf_counter() - began
        self.block_times_ms.append(took_s * 1000 / (self._chain.height(self._node) - height))
        self.cpu_ms.append((self._cpu_s() - cpu_s) * 1000 / (CLIENTS * TRANSFERS))
        return CLIENTS * TRANSFERS / took_s

    def memory_mb(self) -> float:
        """The memory that the chain's plugin uses."""
        return float(self._plugin().memory_info().rss) / 2**20

    def _cpu_s(self) -> float:
        times = self._plugin().cpu_times()
        return float(times.user + times.system)

    def _plugin(self) -> psutil.Process:
        plugins = psutil.Process(self._node.record.pid).children()
        name = str(self._chain.vm_id)
        (found,) = [each for each in plugins if name in {Path(word).name for word in each.cmdline()}]
        return found

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
        host, _, port = self._node.uri.removeprefix("http://").partition(":")
        path = self._chain.url(self._node).removeprefix(self._node.uri)
        requests = b"".join(_request(path, transaction) for transaction in transactions)
        with socket.create_connection((host, int(port)), TIMEOUT_S) as connection:
            connection.sendall(requests)
            received = bytearray()
            while received.count(b'"txID"') < len(transactions):
                received += connection.recv(1 << 20) or sys.exit("the node closed the connection")
        client = self._chain.client(self._node)
        while int(client.call("xsvm.nonce", address=cb58.encode(address))["nonce"]) < self._nonce:
            time.sleep(POLL_S)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.xsvm", description=__doc__)
    parser.add_argument("--node", metavar="PATH", help="the node's binary")
    parser.add_argument("--plugin", metavar="PATH", required=True, help="AvalancheGo's xsvm plugin")
    args = parser.parse_args()
    genesis = Genesis(0, tuple(Allocation(address, 10**12) for address in ADDRESSES)).raw
    new = partial(NewChain, genesis=genesis)
    node = NodeBinary.find(args.node)
    with LocalNetwork(new(TARGET, "python"), new(args.plugin, "go"), node=node.path) as network:
        ours, theirs = loads = [Load(network, chain) for chain in network.chains]
        for load in loads:
            load.transfers_per_s()  # a first round that doesn't count
            load.block_times_ms.clear()
            load.cpu_ms.clear()
        name = f"{node.version.partition(' ')[0]}: transfers"
        rows = [
            compare(
                name, "/s", ours.transfers_per_s, theirs.transfers_per_s, goal="at least 0.4", rounds=ROUNDS
            ),
            _row("a block", "ms", *(statistics.median(load.block_times_ms) for load in loads)),
            _row("the plugin's CPU time for a transfer", "ms", *(statistics.median(x.cpu_ms) for x in loads)),
            _row("the plugin's memory", "MB", ours.memory_mb(), theirs.memory_mb()),
        ]
    print(markdown(rows))
    return 0


def _request(path: str, transaction: str) -> bytes:
    call = {"jsonrpc": "2.0", "id": 1, "method": "xsvm.issueTx", "params": {"tx": transaction}}
    body = json.dumps(call)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def _row(name: str, unit: str, ours: float, floor: float) -> Row:
    return Row(name, ours, floor, unit, ours / floor)


if __name__ == "__main__":
    sys.exit(main())
