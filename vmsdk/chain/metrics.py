"""The metrics of a chain's mempool, gossip and state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vmsdk.chain.accepted import AcceptedState
from vmsdk.chain.mempool import Mempool
from vmsdk.metrics import Family, Sample, family
from vmsdk.p2p.gossip import Gossip


class ChainMetrics:
    """The metrics of one chain, read at each scrape."""

    def __init__(self, pool: Mempool, accepted: AcceptedState, gossip: Gossip) -> None:
        self._pool = pool
        self._accepted = accepted
        self._gossip = gossip

    def collect(self) -> Iterator[Family]:
        pool, accepted, gossip = self._pool, self._accepted, self._gossip.counts
        ready = pool.ready
        yield _families(
            "gauge",
            "mempool_transactions",
            "Waiting transactions, ready for a block or parked behind earlier ones",
            "state",
            {"ready": ready, "parked": max(len(pool) - ready, 0)},
        )
        yield family(
            "gauge", "mempool_bytes", "Memory of all waiting transactions, encoded and decoded", pool.size
        )
        yield _families("counter", "mempool_added_total", "Transactions added", "source", pool.added.copy())
        yield _families(
            "counter", "mempool_removed_total", "Transactions removed", "reason", pool.removed.copy()
        )
        items = {name: gossip[name] for name in ("received", "refused", "pushed")}
        yield _families(
            "counter", "gossip_items_total", "Transactions in messages from and to peers", "kind", items
        )
        yield family(
            "counter", "gossip_pulls_total", "Requests to peers for missing transactions", gossip["pulls"]
        )
        yield _families(
            "counter",
            "state_cache_reads_total",
            "Reads of the state, from the cache (hit) or the database (miss)",
            "result",
            {"hit": accepted.hits, "miss": accepted.misses},
        )
        yield family("gauge", "state_cache_bytes", "Bytes in the cache of the state", accepted.cached_bytes)


def _families(kind: str, name: str, documentation: str, label: str, values: Mapping[str, float]) -> Family:
    samples = [Sample(name, {label: key}, value) for key, value in sorted(values.items())]
    return Family(name, documentation, kind, samples)
