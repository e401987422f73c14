"""Gossip of a chain's transactions.

Transactions submitted to this node are pushed at once; the rest spread by pulling. A transaction
that the chain refuses, or can't decode because the peer runs another version, is dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from vmsdk.chain.errors import Invalid, MempoolFull
from vmsdk.chain.mempool import Mempool, Pending
from vmsdk.ids import ID
from vmsdk.p2p.gossip import Gossip
from vmsdk.p2p.network import Network


class Admitting(Protocol):
    """What gossip needs from a chain. Thread-safe."""

    pool: Mempool
    """The transactions to gossip."""
    admission_listeners: list[Callable[[Pending], None]]
    """Called with each transaction that was added to *pool*."""

    def admit(self, raw: bytes, source: str) -> ID:
        """Add a transaction to *pool*. Raises `Invalid` or `MempoolFull`."""
        ...

    def knows(self, transaction_id: ID) -> bool:
        """Whether the transaction is in *pool*, or was accepted not long ago."""
        ...


class _Transactions:
    """The mempool as a set to gossip."""

    def __init__(self, chain: Admitting, log: logging.Logger) -> None:
        self._chain = chain
        self._log = log
        self.has = chain.knows

    def add(self, raw: bytes) -> bool:
        try:
            self._chain.admit(raw, "peer")
        except (Invalid, MempoolFull):
            return False
        except Exception:  # noqa: BLE001 - the rest of the message may be good
            self._log.exception(
                "the rules fail for a transaction of %d bytes from a peer, which is dropped", len(raw)
            )
            return False
        return True

    def raws(self) -> list[bytes]:
        return [pending.raw for pending in self._chain.pool.all()]


def transaction_gossip(network: Network, chain: Admitting) -> Gossip:
    """Gossip between the mempool of *chain* and those of other nodes, once it is started."""
    # A transaction that was accepted is still known, but peers have it from the block.
    gossip = Gossip(
        network,
        _Transactions(chain, network.ctx.log),
        is_wanted=lambda transaction_id: transaction_id in chain.pool,
    )

    def admitted(pending: Pending) -> None:
        gossip.added(pending.id, pending.raw, push=pending.source != "peer")

    chain.admission_listeners.append(admitted)
    return gossip
