"""Random transactions and blocks of xsvm, valid and broken, and the Go program that judges them."""

from __future__ import annotations

import hashlib
import json
import random
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from btclib_secp256k1 import keys
from typing_extensions import Self

from vmsdk import bls, warp
from vmsdk.chain.accepted import AcceptedState
from vmsdk.chain.errors import Invalid
from vmsdk.chain.state import Overlay
from vmsdk.errors import NodeError
from vmsdk.ids import ID
from vmsdk.memorydb import MemoryDatabase
from vmsdk.nodeservices import WarpValidator, WarpValidatorSet

from .build import XSVM_JUDGE, build
from .nodes import Node

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "xsvm"))

from xsvm import state as states
from xsvm.blocks import Block
from xsvm.execute import Environment, execute_block, execute_genesis
from xsvm.genesis import Allocation, Genesis
from xsvm.transactions import (
    VERSION,
    Export,
    Import,
    Payload,
    Transaction,
    Transfer,
    address_of,
)
from xsvm.warp import no_check, signature_check

NETWORK_ID = 12345
MAX_U64 = 2**64 - 1
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class Judge:
    """The Go program: what the node's own xsvm makes of bytes."""

    def __init__(self, node: Node) -> None:
        path = str(build(XSVM_JUDGE, node))
        self._process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait() == 0

    def call(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Run one command, and return its result."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
        self._process.stdin.flush()
        result: dict[str, Any] = json.loads(self._process.stdout.readline())
        return result


class Ours:
    """One chain of the Python xsvm without a node: its rules on a state in memory."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self.accepted = AcceptedState(MemoryDatabase())
        state = Overlay(self.accepted)
        execute_genesis(state, chain.id, chain.genesis)
        self._commit(state)

    def genesis(self) -> dict[str, Any]:
        """The result of the judge's `genesis`."""
        block = self._chain.genesis.block
        return {"id": block.id.hex(), "bytes": block.raw.hex(), "state": self.digest()}

    def transaction(self, raw: bytes) -> dict[str, Any] | None:
        """The result of the judge's `transaction`; None if it can't be decoded."""
        try:
            transaction = Transaction.from_bytes(raw)
        except Invalid:
            return None
        result = {"id": transaction.id.hex(), "bytes": replace(transaction).raw.hex()}
        try:
            return {**result, "sender": transaction.sender.hex()}
        except Invalid:
            return result

    def block(self, raw: bytes, height: int | None, skip: bool) -> tuple[dict[str, Any] | None, str]:
        """The result of the judge's `block`, None if it can't be decoded; and why it is invalid."""
        try:
            block = Block.from_bytes(raw)
        except Invalid as error:
            return None, str(error)
        result = {"id": block.id.hex(), "bytes": replace(block).raw.hex()}
        verify = no_check if skip else signature_check(cast("Any", self._chain))
        state, why = Overlay(self.accepted), ""
        try:
            execute_block(state, Environment(NETWORK_ID, self._chain.id, height, verify), block)
        except Invalid as error:
            why = str(error)
        else:
            self._commit(state)
        return {**result, "state": self.digest()}, why

    def digest(self) -> str:
        """The SHA-256 of all pairs in the order of their keys, each with its length before it."""
        digest = hashlib.sha256()
        for pair in self.accepted.scan():
            for part in pair:
                digest.update(struct.pack(">I", len(part)) + part)
        return digest.hexdigest()

    def _commit(self, state: Overlay) -> None:
        with self.accepted.commit(state.writes):
            pass


class Chain:
    """A random chain, and random transactions and blocks for it.

    Has the attributes of a `Context` that the signature check reads.
    """

    network_id = NETWORK_ID

    def __init__(self, seed: int, weights: Sequence[int] = ()) -> None:
        self.random = random.Random(seed)
        self.id, self.peer_id = ID(self._bytes(32)), ID(self._bytes(32))
        self.keys = [self._bytes(32) for _ in range(4)]
        self.addresses = [address_of(keys.pubkey_from_prvkey(key)) for key in self.keys]
        self.signers = sorted(
            (self._bytes(31).rjust(32, b"\0") for _ in range(len(weights) or self.random.randint(2, 5))),
            key=lambda secret: bls.uncompress(bls.public_key(secret)),
        )
        self.weights = list(weights) or [self.random.choice([2, 3, 4, 4, 10**15]) for _ in self.signers]
        owned = [
            Allocation(self.random.choice(self.addresses), self._amount(MAX_U64))
            for _ in range(self.random.randint(2, 8))
        ]
        self.genesis = Genesis(self.random.randint(-(2**63), 2**63 - 1), tuple(owned))
        self.messages: list[bytes] = []

    # What the signature check asks ----------------------------------------------------------------

    @property
    def validators(self) -> Self:
        return self

    def get_subnet_id(self, chain_id: ID) -> ID:
        if chain_id != self.peer_id:
            raise NodeError("GetSubnetID", "UNKNOWN", "unknown chain")
        return chain_id

    def get_warp_validator_set(self, height: int, subnet_id: ID) -> WarpValidatorSet:
        public = [bls.uncompress(bls.public_key(secret)) for secret in self.signers]
        return WarpValidatorSet(tuple(map(WarpValidator, public, self.weights)), sum(self.weights))

    def setup(self) -> dict[str, Any]:
        """The arguments of the judge's `genesis`."""
        public = [bls.public_key(secret).hex() for secret in self.signers]
        return {
            "network": NETWORK_ID,
            "chain": self.id.hex(),
            "peer": self.peer_id.hex(),
            "validators": [
                {"key": key, "weight": weight} for key, weight in zip(public, self.weights, strict=True)
            ],
            "bytes": self.genesis.raw.hex(),
        }

    # Random cases ---------------------------------------------------------------------------------

    def transaction(self, state: AcceptedState | Overlay) -> Transaction:
        """A transaction that is mostly valid on *state*."""
        index = self.random.randrange(len(self.keys))
        sender = self.addresses[index]
        nonce = states.nonce(state, sender) if self._mostly() else self.random.choice([0, 1, 7, MAX_U64])
        kind = self.random.random()
        unsigned: Transfer | Export | Import
        if kind < 0.45:
            asset = self.random.choice([self.id, self.id, self.id, self.peer_id, ID(self._bytes(32))])
            amount = self._amount(states.balance(state, sender, asset))
            unsigned = Transfer(self._chain_id(), nonce, self._amount(5), asset, amount, self._to())
        elif kind < 0.6:
            is_return = self.random.random() < 0.4
            amount = self._amount(states.balance(state, sender, self.peer_id if is_return else self.id))
            peer = self.peer_id if self._mostly() else ID(self._bytes(32))
            unsigned = Export(self._chain_id(), nonce, 0, peer, is_return, amount, self._to())
        else:
            unsigned = Import(nonce, 0, self.message(state))
        return self.signed(unsigned, index)

    def message(self, state: AcceptedState | Overlay) -> bytes:
        """A signed message from the peer chain that is mostly valid."""
        if self.messages and self.random.random() < 0.2:
            return self.random.choice(self.messages)
        is_return = self.random.random() < 0.4
        amount = self._amount(states.loan(state, self.peer_id) if is_return else 1000)
        payload = Payload(self._bytes(20), self.random.randrange(2**64), is_return, amount, self._to())
        raw = self.broken(payload.to_bytes()) if self.random.random() < 0.1 else payload.to_bytes()
        network_id = NETWORK_ID if self._mostly() else 1
        unsigned = warp.UnsignedMessage(network_id, self.peer_id if self._mostly() else self.id, raw)
        indices = [i for i in range(len(self.signers)) if self.random.random() < 0.8]
        signed = [bls.sign(self.signers[i], unsigned.encode()) for i in indices]
        signature = bls.aggregate_signatures(signed) if signed else self._bytes(96)
        if not self._mostly():
            indices = [i for i in range(8) if self.random.random() < 0.5]
        bits = warp.BitSetSignature.of(indices, signature)
        if not self._mostly():
            bits = replace(bits, signers=b"\0" + bits.signers)
        message = warp.Message(unsigned, bits).encode()
        self.messages.append(message)
        return self.broken(message) if self.random.random() < 0.1 else message

    def imported_by(self, indices: list[int]) -> bytes:
        """A block with an import whose message these of the peer chain's validators signed."""
        payload = Payload(self._bytes(20), 0, False, 1, self.addresses[0]).to_bytes()
        unsigned = warp.UnsignedMessage(NETWORK_ID, self.peer_id, payload)
        signature = bls.aggregate_signatures([bls.sign(self.signers[i], unsigned.encode()) for i in indices])
        message = warp.Message(unsigned, warp.BitSetSignature.of(indices, signature)).encode()
        signed = Transaction.signed(Import(0, 0, message), self.keys[0])
        return Block(ID(self._bytes(32)), 0, 1, (signed,)).raw

    def signed(self, unsigned: Transfer | Export | Import, index: int) -> Transaction:
        """The transaction, with a signature that is mostly valid."""
        signature = Transaction.signed(unsigned, self.keys[index]).signature
        if not self._mostly():
            r, s, v = signature[:32], signature[32:64], signature[64]
            high = (ORDER - int.from_bytes(s, "big")).to_bytes(32, "big")
            signature = self.random.choice(
                [
                    r + s + bytes([v ^ 1]),
                    r + s + bytes([self.random.randrange(256)]),
                    r + high + bytes([v ^ 1]),
                    ORDER.to_bytes(32, "big") + s + bytes([v]),
                    bytes(32) + s + bytes([v]),
                    r + bytes(33),
                    self._bytes(65),
                ]
            )
        return Transaction(unsigned, signature)

    def block(self, state: AcceptedState) -> bytes:
        """The bytes of a block that is mostly valid on *state*."""
        overlay = Overlay(state)
        transactions = []
        environment = Environment(NETWORK_ID, self.id, 1, no_check)
        for _ in range(self.random.choice([0, 1, 1, 1, 2, 3, 5])):
            transaction = self.transaction(overlay)
            transactions.append(transaction)
            attempt = Overlay(overlay)
            try:
                execute_block(attempt, environment, Block(ID.EMPTY, 0, 0, (transaction,)))
            except Invalid:
                continue
            overlay.absorb(attempt)
        timestamp = self.random.choice([0, 1, 1_700_000_000, -1, 2**63 - 1, -(2**63)])
        height = self.random.choice([1, 2, 3, self.random.randrange(2**64)])
        raw = Block(ID(self._bytes(32)), timestamp, height, tuple(transactions)).raw
        return self.broken(raw) if self.random.random() < 0.3 else raw

    def broken(self, raw: bytes) -> bytes:
        """The bytes after one of the usual mishaps, which may leave them valid."""
        at = self.random.randrange(len(raw) + 1)
        flipped = bytes([raw[at] ^ (1 << self.random.randrange(8))]) if at < len(raw) else b""
        head = self.random.randrange(min(len(raw), 60) + 1)
        return self.random.choice(
            [
                raw[:at] + flipped + raw[at + 1 :],
                raw[:at],
                raw + self._bytes(self.random.randint(1, 9)),
                raw[:at] + self._bytes(1) + raw[at:],
                raw[:head] + self.random.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"]) + raw[head + 4 :],
                VERSION + self._bytes(at),
                self._bytes(at),
            ]
        )

    def _bytes(self, length: int) -> bytes:
        return self.random.randbytes(length)

    def _mostly(self) -> bool:
        return self.random.random() < 0.93

    def _chain_id(self) -> ID:
        return self.id if self._mostly() else self.peer_id

    def _to(self) -> bytes:
        return self.random.choice([*self.addresses, self._bytes(20)])

    def _amount(self, most: int) -> int:
        return self.random.choice(
            [0, 1, most // 2, most, min(most + 1, MAX_U64), self.random.randint(0, most)]
        )
