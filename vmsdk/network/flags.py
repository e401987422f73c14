"""The command line of a node."""

from __future__ import annotations

from dataclasses import dataclass

from vmsdk.network.state import NetworkRecord, NodeRecord, Store

LOCALHOST = "127.0.0.1"


@dataclass(frozen=True)
class Beacon:
    """A running node that another one bootstraps from."""

    node_id: str
    staking_port: int


def node_command(
    store: Store, network: NetworkRecord, node: NodeRecord, beacons: list[Beacon], file_limit: int
) -> list[str]:
    """The node's path and its flags. A port of 0 lets the node choose a free one, which it tells in `process.json`.

    Without flags for keys a node makes itself an identity at its first start and keeps it in its data directory.
    """
    flags = {
        "network-id": "local",
        "sybil-protection-enabled": "false",
        "data-dir": str(store.node_dir(node.name)),
        "plugin-dir": str(store.plugin_dir),
        "chain-config-dir": str(store.chain_config_dir),
        "chain-aliases-file": str(store.aliases_file),
        "http-host": LOCALHOST,
        "http-port": str(node.http_port),
        "staking-host": LOCALHOST,
        "staking-port": str(node.staking_port),
        "public-ip": LOCALHOST,
        "fd-limit": str(file_limit),
        "bootstrap-ips": ",".join(f"{LOCALHOST}:{beacon.staking_port}" for beacon in beacons),
        "bootstrap-ids": ",".join(beacon.node_id for beacon in beacons),
        "track-subnets": ",".join(chain.subnet_id for chain in network.chains),
        "api-admin-enabled": "true",  # to give the chains' URLs their names
        "log-display-level": "off",
        "log-format": "plain",
        **network.flags,
    }
    return [network.binary, *(f"--{name}={value}" for name, value in flags.items())]
