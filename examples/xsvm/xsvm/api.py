"""The JSON-RPC methods, `xsvm.issueTx` and so on, with the names and forms of AvalancheGo's."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from vmsdk import cb58, warp
from vmsdk.errors import InvalidInput
from vmsdk.http import JSONRPCError
from vmsdk.ids import ID
from xsvm import state as states
from xsvm.blocks import Block
from xsvm.transactions import Export, Import, Transfer

if TYPE_CHECKING:
    from xsvm.vm import XSVM

INVALID_PARAMS = -32602
ADDRESS_BYTES = 20


class Service:
    """The methods of one chain. They read the accepted state, and need no lock."""

    def __init__(self, vm: XSVM) -> None:
        self._vm = vm

    def network(self) -> dict[str, Any]:
        """Return the IDs of the network, the subnet and the chain."""
        ctx = self._vm.ctx
        return {"networkID": ctx.network_id, "subnetID": ctx.subnet_id, "chainID": ctx.chain_id}

    def genesis(self) -> dict[str, Any]:
        """Return the genesis."""
        genesis = self._vm.genesis
        allocations = [
            {"address": cb58.encode(each.address), "balance": each.balance} for each in genesis.allocations
        ]
        return {"genesis": {"timestamp": genesis.timestamp, "allocations": allocations}}

    def nonce(self, address: str) -> dict[str, Any]:
        """Return how many transactions an account has sent."""
        return {"nonce": states.nonce(self._vm.accepted, _address(address))}

    def balance(self, address: str, asset_id: ID) -> dict[str, Any]:
        """Return an account's balance of an asset."""
        return {"balance": states.balance(self._vm.accepted, _address(address), asset_id)}

    def loan(self, chain_id: ID) -> dict[str, Any]:
        """Return how much of this chain's asset is on another chain."""
        return {"amount": states.loan(self._vm.accepted, chain_id)}

    def issue_tx(self, tx: str) -> dict[str, Any]:
        """Add a transaction, in Base64, to those that wait for a block."""
        try:
            raw = base64.b64decode(tx, validate=True)
        except binascii.Error as error:
            raise JSONRPCError(INVALID_PARAMS, f"tx is not Base64: {error}") from None
        transaction_id = self._vm.builder.add(raw)
        self._vm.ctx.notify()
        return {"txID": transaction_id}

    def last_accepted(self, **ignored: Any) -> dict[str, Any]:
        """Return the last accepted block. AvalancheGo's client sends the parameters of `block`."""
        block_id = states.last_accepted(self._vm.accepted)
        return {"blockID": block_id, **self.block(block_id)}

    def block(self, block_id: ID) -> dict[str, Any]:
        """Return an accepted block, in Base64 (as since 1.14) and as JSON (as before)."""
        raw = states.get_block(self._vm.accepted, block_id)
        return {"blockBytes": _base64(raw), "block": _block(Block.from_bytes(raw))}

    def message(self, tx_id: ID) -> dict[str, Any]:
        """Return the warp message of an export, and this node's BLS signature of it."""
        message = warp.UnsignedMessage.decode(states.get_message(self._vm.accepted, tx_id))
        signature = self._vm.ctx.warp_signer.sign(
            message.network_id, message.source_chain_id, message.payload
        )
        shown = {
            "NetworkID": message.network_id,
            "SourceChainID": message.source_chain_id,
            "Payload": _base64(message.payload),
        }
        return {"message": shown, "signature": _base64(signature)}


def _block(block: Block) -> dict[str, Any]:
    return {
        "parentID": block.parent_id,
        "timestamp": block.timestamp,
        "height": block.height,
        "txs": [
            {"unsigned": _unsigned(each.unsigned), "signature": list(each.signature)}
            for each in block.transactions
        ],
    }


def _unsigned(unsigned: Transfer | Export | Import) -> dict[str, Any]:
    if isinstance(unsigned, Import):
        return {
            "nonce": unsigned.nonce,
            "maxFee": unsigned.max_fee,
            "message": _base64(unsigned.message),
        }
    own = {"chainID": unsigned.chain_id, "nonce": unsigned.nonce, "maxFee": unsigned.max_fee}
    where: dict[str, Any] = {"amount": unsigned.amount, "to": cb58.encode(unsigned.to)}
    if isinstance(unsigned, Transfer):
        return {**own, "assetID": unsigned.asset_id, **where}
    return {**own, "peerChainID": unsigned.peer_chain_id, "isReturn": unsigned.is_return, **where}


def _address(text: str) -> bytes:
    try:
        address = cb58.decode(text)
    except InvalidInput as error:
        raise JSONRPCError(INVALID_PARAMS, f"address is not CB58: {error}") from None
    if len(address) != ADDRESS_BYTES:
        raise JSONRPCError(INVALID_PARAMS, f"an address has {ADDRESS_BYTES} bytes, not {len(address)}")
    return address


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
