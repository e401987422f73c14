"""The Initialize request as the author's context."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal, get_args

from vmsdk import bls
from vmsdk._pb.vm import vm_pb2
from vmsdk.context import Context, NetworkUpgrades
from vmsdk.errors import InvalidPublicKey
from vmsdk.rpc.conversion import InvalidRequest, identifier, moment, node_identifier
from vmsdk.rpc.session import Session
from vmsdk.services.node import NodeConnection
from vmsdk.upgrades import Upgrades

_TimeName = Literal[
    "apricot_phase_1_time",
    "apricot_phase_2_time",
    "apricot_phase_3_time",
    "apricot_phase_4_time",
    "apricot_phase_5_time",
    "apricot_phase_pre_6_time",
    "apricot_phase_6_time",
    "apricot_phase_post_6_time",
    "banff_time",
    "cortina_time",
    "durango_time",
    "etna_time",
    "fortuna_time",
    "granite_time",
    "helicon_time",
]
_TIMES: tuple[_TimeName, ...] = get_args(_TimeName)
# A node that is older than an upgrade does not send its time. A Go VM refuses that, so AvalancheGo
# 1.14.0 can't run a VM built with 1.14.1, although both speak protocol 44.


class Identity:
    """The IDs of an Initialize request, each of the right length.

    Checked in the same order as in the node's own plugin library, so that errors are the same.
    Raises `InvalidRequest`.
    """

    def __init__(self, request: vm_pb2.InitializeRequest, *, has_upgrades: bool) -> None:
        self.subnet_id = identifier(request.subnet_id)
        self.chain_id = identifier(request.chain_id)
        self.node_id = node_identifier(request.node_id)
        self.public_key = _public_key(request.public_key)
        self.network_upgrades = _network_upgrades(request) if has_upgrades else None
        self.x_chain_id = identifier(request.x_chain_id)
        self.c_chain_id = identifier(request.c_chain_id)
        self.avax_asset_id = identifier(request.avax_asset_id)


def make_context(
    session: Session, node: NodeConnection, identity: Identity, request: vm_pb2.InitializeRequest
) -> Context:
    """The context for the author's `initialize`. Raises `UpgradesRefused`."""
    return Context(
        network_id=request.network_id,
        subnet_id=identity.subnet_id,
        chain_id=identity.chain_id,
        node_id=identity.node_id,
        public_key=identity.public_key,
        x_chain_id=identity.x_chain_id,
        c_chain_id=identity.c_chain_id,
        avax_asset_id=identity.avax_asset_id,
        chain_data_dir=Path(request.chain_data_dir),
        network_upgrades=identity.network_upgrades,
        upgrades=Upgrades.of(session.vm, request.upgrade_bytes),
        protocol_version=session.protocol.version,
        db=node.database,
        services=node,
        metrics=session.metrics,
        log=session.log,
        lock=session.lock,
        chain=session.blocks,
        notify=session.events.notify,
        state_sync_finished=session.events.finish_state_sync,
    )


def _public_key(raw: bytes) -> bytes:
    try:
        bls.validate_public_key(raw)
    except InvalidPublicKey as error:
        raise InvalidRequest(str(error)) from None
    return raw


def _network_upgrades(request: vm_pb2.InitializeRequest) -> NetworkUpgrades:
    if not request.HasField("network_upgrades"):
        raise InvalidRequest("network upgrades protobuf is nil")
    message = request.network_upgrades

    times = {name: moment(getattr(message, name)) if message.HasField(name) else None for name in _TIMES}
    epoch: timedelta | None = None
    if message.HasField("granite_epoch_duration"):
        duration = message.granite_epoch_duration
        try:
            epoch = timedelta(seconds=duration.seconds, microseconds=duration.nanos / 1_000)
        except OverflowError:
            raise InvalidRequest(f"invalid duration: {duration.seconds} s is too long") from None
    return NetworkUpgrades(
        **times,
        apricot_phase_4_min_p_chain_height=message.apricot_phase_4_min_p_chain_height,
        cortina_x_chain_stop_vertex_id=identifier(message.cortina_x_chain_stop_vertex_id),
        granite_epoch_duration=epoch,
    )
