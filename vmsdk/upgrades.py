"""The times at which the network's rules change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from vmsdk.ids import ID
from vmsdk.timestamp import Timestamp


@dataclass(frozen=True)
class NetworkUpgrades:
    """Activation times of the network's upgrades, given by nodes of protocol 37 and newer.

    None means that the node did not tell: it is older than the upgrade, which is then unscheduled.
    """

    apricot_phase_1_time: Timestamp | None = None
    apricot_phase_2_time: Timestamp | None = None
    apricot_phase_3_time: Timestamp | None = None
    apricot_phase_4_time: Timestamp | None = None
    apricot_phase_4_min_p_chain_height: int = 0
    """A P-chain height, not a time."""
    apricot_phase_5_time: Timestamp | None = None
    apricot_phase_pre_6_time: Timestamp | None = None
    apricot_phase_6_time: Timestamp | None = None
    apricot_phase_post_6_time: Timestamp | None = None
    banff_time: Timestamp | None = None
    cortina_time: Timestamp | None = None
    cortina_x_chain_stop_vertex_id: ID = ID.EMPTY
    durango_time: Timestamp | None = None
    etna_time: Timestamp | None = None
    fortuna_time: Timestamp | None = None
    """From protocol 39. MetalGo 1.12.2 and AvalancheGo 1.12.2 call the same field F upgrade."""
    granite_time: Timestamp | None = None
    """From protocol 40."""
    granite_epoch_duration: timedelta | None = None
    """From AvalancheGo 1.14.1 (protocol 44)."""
    helicon_time: Timestamp | None = None
    """From AvalancheGo 1.14.1 (protocol 44)."""
