"""What a node knows about a chain before starting it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp as TimestampPB

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.context import NetworkUpgrades
from vmsdk.host.identity import NodeIdentity
from vmsdk.ids import ID, vm_id
from vmsdk.protocol import DEFAULT_PROTOCOL, Protocol, protocol
from vmsdk.timestamp import Timestamp

LOCAL_NETWORK_ID = 12345
DEFAULT_VM_ID = vm_id("vmsdk-dev")
DEFAULT_CHAIN_ID = ID.of(b"vmsdk host: the chain")
DEFAULT_SUBNET_ID = ID.of(b"vmsdk host: the subnet")
DEFAULT_X_CHAIN_ID = ID.of(b"vmsdk host: the X-chain")
DEFAULT_C_CHAIN_ID = ID.of(b"vmsdk host: the C-chain")
DEFAULT_AVAX_ASSET_ID = ID.of(b"vmsdk host: the native asset")

# The upgrade times of every network but the main and the test network. Source: upgrade/upgrade.go.
INITIALLY_ACTIVE = Timestamp(1_607_144_400)
"""2020-12-05T05:00:00Z"""
UNSCHEDULED = Timestamp(253_399_622_400)
"""9999-12-01T00:00:00Z"""
GRANITE_EPOCH = timedelta(seconds=30)


@dataclass(frozen=True)
class ChainConfig:
    """One chain on one node. The default IDs are the same in each run."""

    genesis: bytes = b""
    upgrade: bytes = b""
    config: bytes = b""
    """The chain's configuration file, which the VM gets unchanged."""
    protocol: Protocol = field(default_factory=lambda: protocol(DEFAULT_PROTOCOL))
    chain_data_dir: Path | None = None
    """The folder for the VM's files. If None, a host makes a temporary one."""
    alias: str | None = None
    """The chain's name on this node."""
    network_id: int = LOCAL_NETWORK_ID
    vm_id: ID = DEFAULT_VM_ID
    """For the names of metrics; it is not sent to the VM."""
    chain_id: ID = DEFAULT_CHAIN_ID
    subnet_id: ID = DEFAULT_SUBNET_ID
    x_chain_id: ID = DEFAULT_X_CHAIN_ID
    c_chain_id: ID = DEFAULT_C_CHAIN_ID
    avax_asset_id: ID = DEFAULT_AVAX_ASSET_ID
    identity: NodeIdentity = field(default_factory=NodeIdentity)
    network_upgrades: NetworkUpgrades | None = None
    """Sent to the VM from protocol 37 on. If None, the times of a local network."""


def local_upgrades(protocol: Protocol) -> NetworkUpgrades:
    """Return the upgrades that the newest release of *protocol* sends on a local network."""

    def time_of(upgrade: str) -> Timestamp | None:
        if not protocol.knows_upgrade(upgrade):
            return None
        return INITIALLY_ACTIVE if protocol.activates_upgrade(upgrade) else UNSCHEDULED

    return NetworkUpgrades(
        apricot_phase_1_time=INITIALLY_ACTIVE,
        apricot_phase_2_time=INITIALLY_ACTIVE,
        apricot_phase_3_time=INITIALLY_ACTIVE,
        apricot_phase_4_time=INITIALLY_ACTIVE,
        apricot_phase_5_time=INITIALLY_ACTIVE,
        apricot_phase_pre_6_time=INITIALLY_ACTIVE,
        apricot_phase_6_time=INITIALLY_ACTIVE,
        apricot_phase_post_6_time=INITIALLY_ACTIVE,
        banff_time=INITIALLY_ACTIVE,
        cortina_time=INITIALLY_ACTIVE,
        durango_time=INITIALLY_ACTIVE,
        etna_time=time_of("etna"),
        fortuna_time=time_of("fortuna"),
        granite_time=time_of("granite"),
        granite_epoch_duration=GRANITE_EPOCH if protocol.knows_upgrade("helicon") else None,
        helicon_time=time_of("helicon"),
    )


def upgrades_message(upgrades: NetworkUpgrades) -> pb.NetworkUpgrades:
    """Encode *upgrades* for the wire; fields that are None stay absent."""
    message = pb.NetworkUpgrades()
    for each in fields(upgrades):
        value = getattr(upgrades, each.name)
        if isinstance(value, Timestamp):
            getattr(message, each.name).CopyFrom(TimestampPB(seconds=value.seconds, nanos=value.nanos))
        elif isinstance(value, timedelta):
            duration = Duration()
            duration.FromTimedelta(value)
            getattr(message, each.name).CopyFrom(duration)
        elif value is not None:
            setattr(message, each.name, value)
    return message
