"""`vmsdk network` assumes nothing about the node's genesis: tests with a stand-in for MetalGo."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmsdk.ids import ID
from vmsdk.network import LocalNetwork, NewChain
from vmsdk.network.errors import CallFailed
from vmsdk.network.pchain import PChain
from vmsdk.network.wallet import LOCAL_ADDRESS

from . import standin

# AvalancheGo's local asset, and the address of the local key with the prefix that AvalancheGo gives
# it.
AVALANCHEGO_ASSET_ID = ID.from_string("2fombhL7aGPwj3KH4bfrmJwW6PVnMobf9Y2fn9GwxiAAJyFDbe")
AVALANCHEGO_ADDRESS = "P-local18jma8ppw3nhx5r4ap8clazz0dps7rv5u00z96u"
SOURCES = Path(__file__).resolve().parents[3] / "vmsdk" / "network"


@pytest.fixture
def metalgo(tmp_path: Path) -> Path:
    path = tmp_path / "metalgo"
    script = Path(__file__).resolve()
    path.write_text(
        f"#!/bin/sh\nPYTHONPATH='{script.parents[3]}' exec '{sys.executable}' "
        f"'{script.with_name('standin.py')}' \"$@\"\n"
    )
    path.chmod(0o755)
    return path


@pytest.fixture
def plugin(tmp_path: Path) -> str:
    """A plugin's executable, which the stand-in does not start."""
    path = tmp_path / "plugin"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def network(metalgo: Path, plugin: str, tmp_path: Path) -> Iterator[LocalNetwork]:
    chains = (NewChain(plugin, "vm"), NewChain(plugin, "second"))
    network = LocalNetwork(*chains, node=metalgo, directory=tmp_path / "network")
    yield network
    network.clean()


def test_its_chains_are_paid_for_in_its_own_asset(network: LocalNetwork) -> None:
    network.start()
    assert committed(network) == [
        each for chain in network.record.chains for each in (chain.subnet_id, chain.chain_id)
    ]
    assert network.record.version == "metalgo/1.13.5"


def test_a_node_that_logs_nothing_is_asked_for_its_id(metalgo: Path, plugin: str, tmp_path: Path) -> None:
    chains = (NewChain(plugin, "vm"),)
    network = LocalNetwork(*chains, node=metalgo, directory=tmp_path / "network", flags={"log-level": "off"})
    try:
        network.start()
        assert network.chain.height(network.nodes[0]) == 7
    finally:
        network.clean()


def test_a_chain_is_added_with_what_is_left(network: LocalNetwork, plugin: str) -> None:
    network.start()
    network.add_chain(NewChain(plugin, "third"))
    assert committed(network)[-1] == str(network.chains[-1].id)


def test_the_height_is_found_whatever_the_metrics_are_called(network: LocalNetwork) -> None:
    network.start()
    assert network.chain.height(network.nodes[0]) == 7


def test_the_stand_in_refuses_what_avalanchego_takes(network: LocalNetwork) -> None:
    network.start()
    node = network.nodes[0]
    with pytest.raises(CallFailed, match='expected hrp "metal-local" but got "local"'):
        node.client("/ext/bc/P").call("platform.getUTXOs", addresses=[AVALANCHEGO_ADDRESS], encoding="hex")
    assert {utxo.asset_id for utxo in PChain(node.uri).utxos(LOCAL_ADDRESS)} == {ID(standin.ASSET_ID)}


def test_no_constant_of_a_nodes_genesis_is_in_the_sources() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in SOURCES.glob("*.py"))
    for constant in (str(AVALANCHEGO_ASSET_ID), "ui6eSQwL", AVALANCHEGO_ADDRESS, "12345", "20_000_000"):
        assert constant not in source


def committed(network: LocalNetwork) -> list[str]:
    """The IDs of the transactions that the stand-in has committed."""
    issued = json.loads((network.nodes[0].directory / "transactions.json").read_text())
    return [str(ID.of(bytes.fromhex(text))) for text in issued]


def test_what_a_killed_command_left_of_the_chains_names_is_written_again(network: LocalNetwork) -> None:
    network.start()
    network.stop()
    file = network.directory / "aliases.json"
    before = json.loads(file.read_text())
    assert sorted(before.values()) == [["second"], ["vm"]]
    file.write_text("{")
    network.start()
    assert json.loads(file.read_text()) == before
