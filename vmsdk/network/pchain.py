"""The P-chain of a node: unspent outputs, and issuing transactions."""

from __future__ import annotations

import hashlib
import time

from vmsdk import cb58
from vmsdk.errors import InvalidEncoding
from vmsdk.ids import ID
from vmsdk.network.client import JSONRPCClient
from vmsdk.network.errors import CallFailed, NetworkError
from vmsdk.network.wallet import UTXO, Transaction

COMMIT_TIMEOUT_S = 60.0
"""One node commits in some 10 ms, five in about a second, but the machine may be busy."""
CHECKSUM_LENGTH = 4

_POLL_S = 0.01
_GONE = frozenset({"Aborted", "Dropped"})


class PChain:
    """Calls the P-chain API of the node at `uri` (`http://127.0.0.1:9650`)."""

    def __init__(self, uri: str) -> None:
        self._client = JSONRPCClient(f"{uri}/ext/bc/P")
        self._info = JSONRPCClient(f"{uri}/ext/info")

    def network_id(self) -> int:
        """The network's ID, which is in every transaction."""
        return int(self._info.call("info.getNetworkID")["networkID"])

    def utxos(self, address: bytes) -> list[UTXO]:
        """The transfer outputs of `address`, in the asset that fees are paid in."""
        # In CB58 an address has no prefix that depends on the network (`ParseServiceAddress`).
        reply = self._client.call("platform.getUTXOs", addresses=[cb58.encode(address)], encoding="hex")
        asset_id = ID.from_string(self._client.call("platform.getStakingAssetID")["assetID"])
        decoded = [UTXO.from_bytes(from_checked_hex(text, "unspent output")) for text in reply["utxos"]]
        return [utxo for utxo in decoded if utxo is not None and utxo.asset_id == asset_id]

    def commit(self, transaction: Transaction, what: str) -> None:
        """Issue a transaction and wait until it is committed.

        `what` completes "the P-chain did not …". Raises `NetworkError` if the node refuses or drops
        it, or it stays undecided.
        """
        try:
            self._client.call("platform.issueTx", tx=to_checked_hex(transaction.raw), encoding="hex")
        except CallFailed as error:
            raise NetworkError(f"the P-chain did not {what}: {error.message}") from error
        deadline = time.monotonic() + COMMIT_TIMEOUT_S
        while True:
            reply = self._client.call("platform.getTxStatus", txID=str(transaction.id))
            status = reply["status"]
            if status == "Committed":
                return
            if status in _GONE:
                reason = reply.get("reason") or f"the transaction was {status.lower()}"
                raise NetworkError(f"the P-chain did not {what}: {reason}")
            if time.monotonic() > deadline:
                raise NetworkError(f"the P-chain did not {what} within {COMMIT_TIMEOUT_S:g} s")
            time.sleep(_POLL_S)


def to_checked_hex(data: bytes) -> str:
    """The node's encoding `hex`: 0x, the bytes, and the last four bytes of their SHA-256."""
    return f"0x{(data + _checksum(data)).hex()}"


def from_checked_hex(text: str, what: str) -> bytes:
    """Decode it. Raises `InvalidEncoding` if it is not hex or the checksum is wrong."""
    try:
        checked = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise InvalidEncoding("not hex", f"{what} {text[:40]!r}") from None
    data, checksum = checked[:-CHECKSUM_LENGTH], checked[-CHECKSUM_LENGTH:]
    if len(checked) < CHECKSUM_LENGTH or checksum != _checksum(data):
        raise InvalidEncoding("invalid input checksum", f"in the hex of the {what}")
    return data


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[-CHECKSUM_LENGTH:]
