"""The metrics of a chain's RPCs, blocks and HTTP requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vmsdk.metrics import Counts, Durations, Family, family
from vmsdk.rpc.blockmemory import BlockMemory

if TYPE_CHECKING:
    from vmsdk.rpc.tracing import Tracer

BLOCK_STEPS = {
    "BuildBlock": "build",
    "ParseBlock": "parse",
    "BlockVerify": "verify",
    "BlockAccept": "accept",
    "BlockReject": "reject",
}


class Instruments:
    """The metrics and traces of one chain's servers."""

    def __init__(self, blocks: BlockMemory) -> None:
        self._memory = blocks
        self.tracer: Tracer | None = None
        """None unless tracing is on."""
        self.rpcs = Durations("rpc_duration_seconds", "Time from a call's start to its response", "method")
        self.rpc_errors = Counts(
            "rpc_errors_total",
            "Calls that returned an error: expected ones such as an invalid block, faults of the VM, or "
            "requests of the node that are malformed",
            *("method", "kind"),
        )
        self.lock_waits = Durations(
            "engine_lock_wait_seconds", "Time that the engine's calls waited for the chain's lock", "method"
        )
        self.blocks = Durations(
            "block_duration_seconds", "Time of a block's steps, without waiting for the lock", "step"
        )
        self.http = Durations("http_request_duration_seconds", "Time of HTTP requests", "route")
        self.http_requests = Counts(
            "http_requests_total", "HTTP requests by their status", *("route", "method", "status")
        )

    def collect(self) -> Iterator[Family]:
        for each in (self.rpcs, self.rpc_errors, self.lock_waits, self.blocks, self.http, self.http_requests):
            yield from each.collect()
        memory = self._memory
        yield family(
            "gauge", "block_height", "Height of the last accepted block", memory.last_accepted_height
        )
        yield family(
            "gauge", "blocks_processing", "Verified and undecided blocks", float(len(memory.processing))
        )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET"})


def method_label(method: str) -> str:
    """The label for an HTTP method, which clients choose: `other` for an unusual one."""
    return method if method in _METHODS else "other"
