"""Gossip of a mempool's transactions.

Transactions submitted to this node are pushed at once; the rest spread by pulling. A transaction
that the pool refuses, or can't read because the peer runs another version, is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from vmsdk.errors import VMError
from vmsdk.ids import ID
from vmsdk.p2p.gossip import Gossip
from vmsdk.p2p.network import Network

PEER = "peer"
"""The source of a transaction that came by gossip."""


class Pool(Protocol):
    """What gossip needs of a mempool. Safe to use from several threads."""

    on_added: list[Callable[[ID, bytes, str], None]]
    """Called with the ID, the bytes and the source of each transaction that was added."""

    def add(self, raw: bytes, source: str) -> ID:
        """Add a transaction. Raises a `VMError` if it is refused."""
        ...

    def has(self, tx_id: ID) -> bool:
        """Whether the pool contains this transaction."""
        ...

    def raws(self) -> Sequence[bytes]:
        """A snapshot of all transactions."""
        ...


class _Transactions:
    """The pool as a set to gossip."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.has = pool.has
        self.raws = pool.raws

    def add(self, raw: bytes) -> bool:
        try:
            self._pool.add(raw, PEER)
        except VMError:
            return False
        return True


def mempool_gossip(network: Network, pool: Pool) -> Gossip:
    """Gossip between *pool* and those of other nodes: call `start` once the chain has caught up."""
    gossip = Gossip(network, _Transactions(pool))
    pool.on_added.append(lambda tx_id, raw, source: gossip.added(tx_id, raw, push=source != PEER))
    return gossip
