"""Gossip of a chain's transactions.

Transactions that are submitted to this node are pushed at once; nodes pull what they missed. A
peer's transaction that the chain refuses, or can't decode because the peer has another version, is
dropped.
"""

from __future__ import annotations

from collections.abc import Callable

from vmsdk.chain.errors import Invalid, MempoolFull
from vmsdk.chain.mempool import Mempool
from vmsdk.ids import ID
from vmsdk.p2p.gossip import Gossip
from vmsdk.p2p.network import Network


class _Transactions:
    """The mempool as a set of items to gossip."""

    def __init__(
        self, network: Network, pool: Mempool, admit: Callable[[bytes, str], ID], has: Callable[[ID], bool]
    ) -> None:
        self._log = network.ctx.log
        self._pool = pool
        self._admit = admit
        self.has = has

    def add(self, raw: bytes) -> bool:
        try:
            self._admit(raw, "peer")
        except (Invalid, MempoolFull):
            return False
        except Exception:  # noqa: BLE001 - the rest of the message may be valid
            self._log.exception(
                "the rules failed for a transaction of %d bytes from a peer, which is dropped", len(raw)
            )
            return False
        return True

    def raws(self) -> list[bytes]:
        return [pending.raw for pending in self._pool.all()]


def transaction_gossip(
    network: Network, pool: Mempool, admit: Callable[[bytes, str], ID], knows: Callable[[ID], bool]
) -> Gossip:
    """Gossip of the transactions in *pool*. The caller starts it, and reports new ones.

    `admit(raw, source)` adds a transaction; `knows(id)` is also true of those accepted recently.
    """
    # Accepted transactions are not pushed again: peers get them with the block.
    return Gossip(network, _Transactions(network, pool, admit, knows), is_wanted=pool.__contains__)
