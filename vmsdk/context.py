"""The context of a chain, which a VM gets when it is initialised."""

from __future__ import annotations

import logging
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vmsdk.errors import VMError
from vmsdk.ids import ID, NodeID
from vmsdk.protocol import DEFAULT_PROTOCOL
from vmsdk.timestamp import Timestamp

if TYPE_CHECKING:
    # Only annotations need these, and a plugin starts sooner without them.
    from vmsdk.database import Database
    from vmsdk.metrics import Metrics
    from vmsdk.nodeservices import (
        AliasReader,
        AppSender,
        NodeServices,
        SharedMemory,
        ValidatorState,
        WarpSigner,
    )
    from vmsdk.upgrades import Upgrades


@dataclass(frozen=True)
class NetworkUpgrades:
    """When the network's upgrades activate, as nodes of protocol 37 and newer report it.

    None means that the node is older than the upgrade.
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
    """From protocol 39. MetalGo 1.12.2 and AvalancheGo 1.12.2 call this field "F upgrade"."""
    granite_time: Timestamp | None = None
    """From protocol 40."""
    granite_epoch_duration: timedelta | None = None
    """From AvalancheGo 1.14.1 (protocol 44)."""
    helicon_time: Timestamp | None = None
    """From AvalancheGo 1.14.1 (protocol 44)."""


class ChainView(ABC):
    """The blocks of a chain as the node's consensus sees them now."""

    @abstractmethod
    def get(self, block_id: ID) -> Any:
        """The block with this ID. Raises `NotFound`."""

    @property
    @abstractmethod
    def preferred(self) -> Any:
        """The block to build on."""

    @property
    @abstractmethod
    def processing(self) -> Sequence[Any]:
        """Verified and undecided blocks above the last accepted one, parents first."""


class _Missing:
    """Replaces an argument that a test omitted from its `Context`: any use raises `VMError`."""

    def __init__(self, argument: str) -> None:
        self._argument = argument

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        argument = self._argument
        raise VMError(
            f"this Context has no {argument}, which {name} needs: make it with Context({argument}=…)"
        )


def _memory_database() -> Database:
    from vmsdk.memorydb import MemoryDatabase  # a plugin never needs it

    return MemoryDatabase()


def _no_upgrades() -> Upgrades:
    from vmsdk.upgrades import Upgrades

    return Upgrades()


class _Unscraped:
    def register(self, collector: object) -> None:
        """Do nothing: no node asks a test for metrics."""

    register_own = register


def _nothing() -> None: ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Context:
    """A chain's identity, database, and access to the node's services.

    vmsdk creates one for each chain. A test can create its own, with only the arguments that it
    needs: `Context()` has an empty `MemoryDatabase`, and raises a clear error for anything that
    needs a node.
    """

    network_id: int = 12345
    """1 is the main network, 5 the test network (Fuji, Tahoe), 12345 a local one."""

    subnet_id: ID = ID.EMPTY
    """The subnet that validates this chain."""

    chain_id: ID = ID.EMPTY
    """This chain."""

    node_id: NodeID = NodeID.EMPTY
    """The node that runs this VM."""

    public_key: bytes = b""
    """The node's BLS public key: 48 bytes, compressed."""

    x_chain_id: ID = ID.EMPTY
    c_chain_id: ID = ID.EMPTY
    avax_asset_id: ID = ID.EMPTY
    """The asset ID of the network's token, AVAX or METAL."""

    chain_data_dir: Path = Path(os.devnull)
    """This chain's own directory, which exists, for data that does not fit in the database."""

    network_upgrades: NetworkUpgrades | None = None
    """When the network's rules change; None up to protocol 36."""

    upgrades: Upgrades = field(default_factory=_no_upgrades)
    """When this chain's own rules change: `ctx.upgrades.is_active("fees-v2", block)`."""

    protocol_version: int = DEFAULT_PROTOCOL
    """The protocol version that the node speaks: one of `vmsdk.protocol.PROTOCOLS`."""

    db: Database = field(default_factory=_memory_database)
    """The chain's database, which the node keeps."""

    services: NodeServices = field(default_factory=lambda: cast("NodeServices", _Missing("services")))
    """The node's other services, each connected at its first use: see the properties below."""

    metrics: Metrics = field(default_factory=lambda: cast("Metrics", _Unscraped()))
    """Where to register metrics for the node's metrics page."""

    log: logging.Logger = field(default_factory=lambda: logging.getLogger("vmsdk.chain"))
    """The chain's logger. Each record is one line in the node's log of this chain."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    """Held during every engine call: an HTTP handler that takes it sees a consistent state."""

    chain: ChainView = field(default_factory=lambda: cast("ChainView", _Missing("chain")))
    """The source of `preferred`, `processing` and `get_block`."""

    notify: Callable[[], None] = _nothing
    """Report that `ChainVM.has_pending_work` may have changed: from any thread, as often as
    needed.
    """

    state_sync_finished: Callable[[], None] = _nothing
    """Report that state sync has ended, from any thread; repeated until the node receives it."""

    def get_block(self, block_id: ID) -> Any:
        """The block with this ID: from memory if it is undecided, else from the VM's `get_block`.

        This is how a block finds its parent. Raises `NotFound`.
        """
        return self.chain.get(block_id)

    @property
    def preferred(self) -> Any:
        """The block to build on: the tip that consensus prefers, else the last accepted block."""
        return self.chain.preferred

    @property
    def processing(self) -> Sequence[Any]:
        """The blocks that are verified and not yet decided, parents first."""
        return self.chain.processing

    @property
    def sender(self) -> AppSender:
        """Sends messages to peers."""
        return self.services.sender

    @property
    def shared_memory(self) -> SharedMemory:
        """The mailboxes between this chain and others of its subnet."""
        return self.services.shared_memory

    @property
    def aliases(self) -> AliasReader:
        """The names of the node's chains."""
        return self.services.aliases

    @property
    def validators(self) -> ValidatorState:
        """The P-chain's validators."""
        return self.services.validators

    @property
    def warp_signer(self) -> WarpSigner:
        """Signs messages of this chain with the node's BLS key."""
        return self.services.warp_signer
