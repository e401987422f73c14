"""What a VM is given when it is initialised."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Only annotations need them, and a plugin starts sooner without them.
    import threading
    from pathlib import Path

    from vmsdk.block import Block
    from vmsdk.database import Database
    from vmsdk.ids import ID, NodeID
    from vmsdk.metrics import Metrics
    from vmsdk.nodeservices import (
        AliasReader,
        AppSender,
        NodeServices,
        SharedMemory,
        ValidatorState,
        WarpSigner,
    )
    from vmsdk.upgrades import NetworkUpgrades


@dataclass(frozen=True, eq=False)
class Context:
    """The chain's surroundings: who and where it is, and the node's services."""

    network_id: int
    """1 is the main network, 5 the test network (Fuji, Tahoe), 12345 a local one."""

    subnet_id: ID
    """The subnet that validates this chain."""

    chain_id: ID
    """This chain."""

    node_id: NodeID
    """The node that runs this VM."""

    public_key: bytes
    """The node's BLS public key: 48 bytes, compressed."""

    x_chain_id: ID
    c_chain_id: ID
    avax_asset_id: ID
    """The network's own token, also where it is called METAL."""

    chain_data_dir: Path
    """A directory of this chain's own, already made; for what does not fit the database."""

    network_upgrades: NetworkUpgrades | None
    """When the network's rules change; None until protocol 36."""

    protocol_version: int
    """The protocol spoken with the node: one of `vmsdk.protocol.PROTOCOLS`."""

    db: Database
    """The chain's database, served by the node."""

    services: NodeServices
    """The node's other services, each connected at its first use; the properties below name them."""

    metrics: Metrics
    """Where to register metrics for the node's metrics page."""

    log: logging.Logger
    """The chain's log: one record a line in the node's log of this chain."""

    lock: threading.RLock
    """Held around every engine call; an HTTP handler that takes it sees a settled state."""

    get_block: Callable[[ID], Block]
    """Any block by ID: verified ones not yet decided from memory, others by the VM's `get_block`.

    Raises `NotFound`. This is how a block finds its parent.
    """

    notify: Callable[[], None]
    """Say that `has_pending_work` may have changed. From any thread, as often as you like."""

    state_sync_finished: Callable[[], None]
    """Say that state sync has ended. From any thread; repeated to the node until it was heard."""

    @property
    def sender(self) -> AppSender:
        """Messages to peers."""
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
        """What the P-chain knows of validators."""
        return self.services.validators

    @property
    def warp_signer(self) -> WarpSigner:
        """The node's BLS signature for messages of this chain."""
        return self.services.warp_signer
