"""What a node knows of a chain before it starts it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vmsdk.host.identity import NodeIdentity
from vmsdk.ids import ID, vm_id
from vmsdk.protocol import Protocol, protocol
from vmsdk.upgrades import NetworkUpgrades

LOCAL_NETWORK_ID = 12345
# The newest that a release for main networks speaks: 46 is known from a test network's release only.
DEFAULT_PROTOCOL_VERSION = 45
DEFAULT_VM_ID = vm_id("vmsdk-dev")
DEFAULT_CHAIN_ID = ID.of(b"vmsdk host: the chain")
DEFAULT_SUBNET_ID = ID.of(b"vmsdk host: the subnet")
DEFAULT_X_CHAIN_ID = ID.of(b"vmsdk host: the X-chain")
DEFAULT_C_CHAIN_ID = ID.of(b"vmsdk host: the C-chain")
DEFAULT_AVAX_ASSET_ID = ID.of(b"vmsdk host: the native asset")


@dataclass(frozen=True)
class ChainConfig:
    """One chain on one node. Every ID has a default that is the same at each run."""

    genesis: bytes = b""
    upgrade: bytes = b""
    config: bytes = b""
    """The chain's configuration file, handed to the VM as it is."""
    protocol: Protocol = field(default_factory=lambda: protocol(DEFAULT_PROTOCOL_VERSION))
    chain_data_dir: Path | None = None
    """Where the VM may keep files; must exist. None: a host makes one of its own, and removes it."""
    alias: str | None = None
    """The chain's name on this node, known before its own ID is."""
    network_id: int = LOCAL_NETWORK_ID
    vm_id: ID = DEFAULT_VM_ID
    """For the names of metrics only: the wire does not carry it."""
    chain_id: ID = DEFAULT_CHAIN_ID
    subnet_id: ID = DEFAULT_SUBNET_ID
    x_chain_id: ID = DEFAULT_X_CHAIN_ID
    c_chain_id: ID = DEFAULT_C_CHAIN_ID
    avax_asset_id: ID = DEFAULT_AVAX_ASSET_ID
    identity: NodeIdentity = field(default_factory=NodeIdentity)
    network_upgrades: NetworkUpgrades | None = None
    """What to tell the VM (from protocol 37); None: what a node tells it on a local network."""
