"""The P-chain of a node: funds, and transactions issued and waited for."""

from __future__ import annotations

import hashlib
import time

from vmsdk.errors import InvalidEncoding
from vmsdk.network.client import JSONRPCClient
from vmsdk.network.errors import CallFailed, TransactionFailed, WaitTimedOut
from vmsdk.network.transactions import UTXO, Signed

COMMIT_TIMEOUT_S = 30.0
"""A lone node commits in some 10 ms, five nodes in about a second."""
CHECKSUM_LENGTH = 4

_POLL_S = 0.01
_GONE = frozenset({"Aborted", "Dropped"})


class PChain:
    """Calls the P-chain API of the node at `uri` (`http://127.0.0.1:9650`)."""

    def __init__(self, uri: str) -> None:
        self._client = JSONRPCClient(f"{uri}/ext/bc/P")

    def utxos(self, address: str) -> list[UTXO]:
        """The outputs that `address` may spend; other than transfer outputs (staked and locked ones) are left out."""
        answer = self._client.call("platform.getUTXOs", addresses=[address], encoding="hex")
        encoded = [from_checked_hex(text, "unspent output") for text in answer["utxos"]]
        return [UTXO.from_bytes(data) for data in encoded if UTXO.is_transfer(data)]

    def issue(self, transaction: Signed, what: str) -> None:
        """Hands a transaction to the node. `what` completes "the P-chain did not …".

        Raises:
            TransactionFailed: the node refuses it.
        """
        try:
            self._client.call("platform.issueTx", tx=to_checked_hex(transaction.to_bytes()), encoding="hex")
        except CallFailed as error:
            raise TransactionFailed(what, error.message) from error

    def wait_committed(self, transaction: Signed, what: str, timeout_s: float = COMMIT_TIMEOUT_S) -> None:
        """Waits until the transaction counts.

        Raises:
            TransactionFailed: the P-chain dropped it.
            WaitTimedOut: neither happened in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            answer = self._client.call("platform.getTxStatus", txID=str(transaction.id))
            if answer["status"] == "Committed":
                return
            if answer["status"] in _GONE:
                raise TransactionFailed(
                    what, answer.get("reason") or f"the transaction was {answer['status'].lower()}"
                )
            if time.monotonic() > deadline:
                raise WaitTimedOut(f"the P-chain's decision to {what}", timeout_s)
            time.sleep(_POLL_S)


def to_checked_hex(data: bytes) -> str:
    """The node's encoding `hex`: 0x, the bytes, and the last four bytes of their SHA-256."""
    return f"0x{(data + _checksum(data)).hex()}"


def from_checked_hex(text: str, what: str) -> bytes:
    """The bytes of the node's encoding `hex`.

    Raises:
        InvalidEncoding: no hex, or a wrong checksum.
    """
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
