"""The times of the network's upgrades, as a node of each protocol version sends them."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp as TimestampPB

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.protocol import Protocol
from vmsdk.timestamp import Timestamp
from vmsdk.upgrades import NetworkUpgrades

# Source: upgrade/upgrade.go, for every network but the main and the test network.
INITIALLY_ACTIVE = Timestamp(1_607_144_400)
"""2020-12-05T05:00:00Z"""
UNSCHEDULED = Timestamp(253_399_622_400)
"""9999-12-01T00:00:00Z"""
GRANITE_EPOCH = timedelta(seconds=30)


def local_upgrades(protocol: Protocol) -> NetworkUpgrades:
    """What the newest release of *protocol* sends on a local network."""

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


def to_wire(upgrades: NetworkUpgrades) -> pb.NetworkUpgrades:
    """The message; what is None stays absent."""
    message = pb.NetworkUpgrades()
    for field in fields(upgrades):
        value = getattr(upgrades, field.name)
        if isinstance(value, Timestamp):
            getattr(message, field.name).CopyFrom(TimestampPB(seconds=value.seconds, nanos=value.nanos))
        elif isinstance(value, timedelta):
            duration = Duration()
            duration.FromTimedelta(value)
            getattr(message, field.name).CopyFrom(duration)
        elif value is not None:
            setattr(message, field.name, value)
    return message
