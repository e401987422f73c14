"""A wallet for the token chain: generates keys, signs and sends transfers, and shows accounts.

python tokenswallet.py new me.pem
python tokenswallet.py send me.pem 01ab…20 500
"""

from __future__ import annotations

import argparse
import getpass
import json
import sys
import urllib.error
import urllib.request
from typing import Any

from tokensvm import Transfer

import vmsdk
from vmsdk.chain import keys

URL = "http://127.0.0.1:9650/ext/bc/tokensvm/api"


class Failed(Exception):
    """The node refused the request or can't be reached; the text is for the user."""


class Node:
    """A node's HTTP interface to the chain."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def get(self, path: str, body: object = None) -> Any:
        """Request *path*, by POST if there is a body, and return the JSON. Raises `Failed`."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise Failed(f"{error.url}: {error.code} {error.read().decode(errors='replace')}") from None
        except (OSError, ValueError) as error:
            raise Failed(
                f"{self._url} can't be reached ({error}): is the chain running, and is --url right?"
            ) from None


def send(node: Node, key: keys.PrivateKey, to: bytes, amount: int, fee: int | None = None) -> vmsdk.ID:
    """Sign a transfer with the account's next nonce, and submit it. Raises `Failed`."""
    chain = node.get("/chain")
    nonce = node.get(f"/accounts/{key.address.hex()}")["next_nonce"]
    transfer = Transfer(to, amount, chain["min_fee"] if fee is None else fee, nonce)
    signed = transfer.sign(key, vmsdk.ID.from_string(chain["chain_id"]))
    (result,) = node.get("/transfers", {"raw": [signed.raw.hex()]})
    if result["error"] is not None:
        raise Failed(result["error"])
    return signed.id


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = _parser().parse_args(arguments)
    try:
        _run(args)
    except (Failed, vmsdk.VMError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(args: argparse.Namespace) -> None:
    if args.command == "new":
        kind = keys.Secp256k1Key if args.secp256k1 else keys.Ed25519Key
        key = kind.generate()
        key.save(args.key, getpass.getpass().encode() if args.password else None)
        print(key.address.hex())
        return
    if args.command == "address":
        print(_load(args).address.hex())
        return
    node = Node(args.url)
    if args.command == "send":
        print(send(node, _load(args), args.to, args.amount, args.fee))
    elif args.command == "balance":
        print(node.get(f"/accounts/{args.address.hex()}")["balance"])
    elif args.command == "history":
        for each in node.get(f"/accounts/{args.address.hex()}/transfers"):
            print(each["height"], each["id"])
    else:
        found = node.get(f"/transfers/{args.id}")
        print(found["status"], found.get("height") or found.get("reason") or "")


def _load(args: argparse.Namespace) -> keys.PrivateKey:
    return keys.load(args.key, getpass.getpass().encode() if args.password else None)


def _address(text: str) -> bytes:
    address = bytes.fromhex(text)
    if len(address) != keys.ADDRESS_BYTES:
        raise ValueError
    return address


_address.__name__ = "address (40 hexadecimal digits)"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="A wallet for the token chain.")
    parser.add_argument("--url", default=URL, help="the chain's HTTP interface (default: %(default)s)")
    parser.add_argument("--password", action="store_true", help="ask for the password of the key file")
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="generate a key and print its address")
    new.add_argument("key", help="a new PEM file")
    new.add_argument("--secp256k1", action="store_true", help="instead of Ed25519, which is faster")
    commands.add_parser("address", help="print the address of a key").add_argument("key")
    transfer = commands.add_parser("send", help="send tokens and print the transfer's ID")
    transfer.add_argument("key", help="the sender's PEM file")
    transfer.add_argument("to", type=_address, help="the recipient's address")
    transfer.add_argument("amount", type=int)
    transfer.add_argument("--fee", type=int, help="default: the lowest that the chain accepts")
    for name, text in (("balance", "print a balance"), ("history", "list heights and IDs of transfers")):
        commands.add_parser(name, help=text).add_argument("address", type=_address)
    commands.add_parser("status", help="print the status of a transfer").add_argument("id")
    return parser


if __name__ == "__main__":
    sys.exit(main())
