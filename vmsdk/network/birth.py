"""The birth of a chain: its plugin registered by a node, its subnet and itself made on the P-chain."""

from __future__ import annotations

import re
from pathlib import Path

from vmsdk.ids import ID
from vmsdk.network import diagnosis
from vmsdk.network.errors import CallFailed, PluginNotRegistered
from vmsdk.network.logs import LogFile
from vmsdk.network.node import Node
from vmsdk.network.pchain import PChain
from vmsdk.network.transactions import CreateChain, CreateSubnet
from vmsdk.network.wallet import LOCAL_ADDRESS, Wallet, change_of


def register_plugin(node: Node, vm_id: ID, plugin_dir: Path) -> None:
    """Has the running node launch a plugin once, to get to know it.

    Raises:
        PluginNotRegistered: the launch failed; the error holds what the plugin printed.
    """
    output = LogFile.at_end(node.plugin_log)
    try:
        failed = node.client("/ext/admin").call("admin.loadVMs").get("failedVMs") or {}
    except CallFailed as error:
        failed = {str(vm_id): error.message}
    reason = failed.get(str(vm_id))
    if reason is not None:
        lines = diagnosis.said_by_plugin(output.new_lines())
        raise PluginNotRegistered(node.name, plugin_dir / str(vm_id), reason, lines, node.plugin_log)


def make_chain(node: Node, vm_id: ID, name: str, genesis: bytes) -> tuple[ID, ID]:
    """Makes a subnet and a chain on it; returns the IDs of both. No node runs the chain yet: none tracks the subnet.

    Raises:
        MissingExtra: the package that signs is not installed.
        TransactionFailed: the P-chain does not take a transaction.
    """
    wallet, pchain = Wallet(), PChain(node.uri)
    asset_id = pchain.fee_asset_id()
    subnet = wallet.sign(CreateSubnet(wallet.pay(pchain.utxos(LOCAL_ADDRESS), asset_id), wallet.owner))
    payment = wallet.pay(change_of(subnet), asset_id)
    chain = wallet.sign(CreateChain(payment, subnet.id, _title(name), vm_id, genesis))
    for transaction, what in ((subnet, "make a subnet"), (chain, f"make the chain {name}")):
        pchain.issue(transaction, what)
        pchain.wait_committed(transaction, what)
    return subnet.id, chain.id


def _title(name: str) -> str:
    """The P-chain's name for the chain: it allows letters, digits and spaces only."""
    return re.sub("[-_]", " ", name)
