"""A stand-in for a node that is not AvalancheGo: another asset, another address prefix, other names
of metrics.

It says that it is MetalGo. It answers --version, takes a node's flags, writes `process.json` and
serves the calls that `vmsdk network` makes, with the P-chain's rules for what is spent. It runs no
plugins and keeps no blocks.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import ecdsa  # type: ignore[import-untyped]

from vmsdk import cb58
from vmsdk.network.pchain import from_checked_hex, to_checked_hex

VERSION = "metalgo/1.13.5 [database=v1.4.5, rpcchainvm=43, commit=abc, go=1.23.9]"
NETWORK_ID = 54321
PREFIX = "metal-local"
ASSET_ID = hashlib.sha256(b"METAL").digest()
OTHER_ASSET_ID = hashlib.sha256(b"somebody's token").digest()
ADDRESS = bytes.fromhex("3cb7d3842e8cee6a0ebd09f1fe884f6861e1b29c")
KEY = bytes.fromhex("56289e99c94b6912bfc12adc093c9b51124f0dc54ac7a766b2bc5ccf558d8027")
GENESIS_AMOUNT = 20_000_000 * 10**9

Spent = tuple[bytes, int]


def u32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def output_of(asset_id: bytes, amount: int) -> bytes:
    return asset_id + u32(7) + u64(amount) + u64(0) + u32(1) + u32(1) + ADDRESS


class PChain:
    """The unspent outputs, and the transactions that spent some of them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._issued: list[str] = []
        self.committed: list[str] = []
        # Two that pay no fee: another asset's, which is worth more, and one that is locked (type
        # 22).
        self.unspent: dict[Spent, bytes] = {
            (bytes(32), 0): output_of(OTHER_ASSET_ID, 2 * GENESIS_AMOUNT),
            (bytes(32), 1): ASSET_ID
            + u32(22)
            + u64(9)
            + u32(7)
            + u64(1)
            + u64(0)
            + u32(1)
            + u32(1)
            + ADDRESS,
            (bytes(32), 2): output_of(ASSET_ID, GENESIS_AMOUNT),
        }
        for text in json.loads(file.read_text()) if file.exists() else []:
            self.issue(bytes.fromhex(text))

    def utxos(self, addresses: list[str]) -> list[str]:
        for address in addresses:
            if "1" in address[1:] and "-" in address:
                prefix = address.partition("-")[2].rpartition("1")[0]
                if prefix != PREFIX:
                    raise ValueError(
                        f'couldn\'t parse address "{address}": expected hrp "{PREFIX}" but got "{prefix}"'
                    )
                raise ValueError("the stand-in reads no Bech32")
            if cb58.decode(address) != ADDRESS:
                return []
        encoded = [b"\0\0" + tx_id + u32(index) + output for (tx_id, index), output in self.unspent.items()]
        return [to_checked_hex(data) for data in encoded]

    def issue(self, data: bytes) -> str:
        """Takes a transaction with one output and one input; its type and the rest of it follow
        those.
        """
        if data[6:10] != u32(NETWORK_ID):
            raise ValueError("wrong network ID")
        output, spent = data[46 : 46 + 80], data[130 : 130 + 88]
        if data[42:46] != u32(1) or data[126:130] != u32(1):
            raise ValueError("the stand-in takes one output and one input")
        key = (spent[:32], int.from_bytes(spent[32:36], "big"))
        if key not in self.unspent:
            raise ValueError(f"unspent output {key[0].hex()}:{key[1]} not found")
        theirs = self.unspent[key][:32]
        for asset in (spent[36:68], output[:32]):
            if asset != theirs:
                raise ValueError(
                    f"input asset ID does not match UTXO asset ID: {cb58.encode(asset)} != "
                    f"{cb58.encode(theirs)}"
                )
        if theirs != ASSET_ID:
            raise ValueError("the fee is not paid in METAL")
        self._check_signature(data)
        tx_id = hashlib.sha256(data).digest()
        del self.unspent[key]
        self.unspent[tx_id, 0] = output
        self.committed.append(cb58.encode(tx_id))
        self._issued.append(data.hex())
        self._file.write_text(json.dumps(self._issued))
        return cb58.encode(tx_id)

    @staticmethod
    def _check_signature(data: bytes) -> None:
        """The credentials come last; each holds the same signature here, and the last is the last
        65 bytes.
        """
        count = 2 if data[2:6] == u32(15) else 1
        unsigned, signature = data[: -4 - count * 73], data[-65:]
        keys = ecdsa.VerifyingKey.from_public_key_recovery_with_digest(
            signature[:64], hashlib.sha256(unsigned).digest(), ecdsa.SECP256k1, hashlib.sha256
        )
        ours = ecdsa.SigningKey.from_string(KEY, ecdsa.SECP256k1).verifying_key
        if keys[signature[64]].to_string() != ours.to_string():
            raise ValueError("signature is wrong")


class Node(ThreadingHTTPServer):
    def __init__(self, flags: dict[str, str]) -> None:
        super().__init__((flags["http-host"], int(flags["http-port"])), Handler)
        directory = Path(flags["data-dir"])
        self.pchain = PChain(directory / "transactions.json")
        identity = directory / "identity"
        if not identity.exists():
            identity.write_text(f"NodeID-{cb58.encode(secrets.token_bytes(20))}")
        self.node_id = identity.read_text()
        (directory / "flags.json").write_text(json.dumps(flags))
        (directory / "logs").mkdir(exist_ok=True)
        if flags.get("log-level") != "off":
            with (directory / "logs" / "main.log").open("a", encoding="utf-8") as log:
                log.write(
                    "[11-26|20:00:00.000] INFO node/node.go:142 initializing node "
                    f'{{"nodeID": "{self.node_id}"}}\n'
                )
        context = directory / "process.new"
        context.write_text(
            json.dumps(
                {
                    "pid": os.getpid(),
                    "uri": f"http://{flags['http-host']}:{self.server_address[1]}",
                    "stakingAddress": f"127.0.0.1:{flags['staking-port']}",
                }
            )
        )
        context.replace(directory / "process.json")

    def call(self, method: str, params: dict[str, Any]) -> object:
        if method == "info.getNodeID":
            return {"nodeID": self.node_id}
        if method == "info.getNetworkID":
            return {"networkID": str(NETWORK_ID)}
        if method == "info.isBootstrapped":
            return {"isBootstrapped": True}
        if method == "info.peers":
            return {"numPeers": "0", "peers": []}
        if method == "admin.alias":
            return {}
        if method == "platform.getUTXOs":
            return {"utxos": self.pchain.utxos(params["addresses"])}
        if method == "platform.getStakingAssetID":
            return {"assetID": cb58.encode(ASSET_ID)}
        if method == "platform.issueTx":
            return {"txID": self.pchain.issue(from_checked_hex(params["tx"], "transaction"))}
        if method == "platform.getTxStatus":
            return {"status": "Committed" if params["txID"] in self.pchain.committed else "Unknown"}
        raise ValueError(f"the stand-in has no method {method}")


class Handler(BaseHTTPRequestHandler):
    server: Node

    def do_GET(self) -> None:
        self._answer(b'metal_snowman_last_accepted_height{chain="vm"} 7\n')

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reply: dict[str, object] = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            reply["result"] = self.server.call(request["method"], request["params"])
        except ValueError as error:
            reply["error"] = {"code": -32000, "message": str(error)}
        self._answer(json.dumps(reply).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    if sys.argv[1:] == ["--version"]:
        print(VERSION)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Node(dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])) as node:
        node.serve_forever(poll_interval=0.01)


if __name__ == "__main__":
    main()
