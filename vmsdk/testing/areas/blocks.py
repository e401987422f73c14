"""Blocks: parsing, building, verifying and deciding them."""

from __future__ import annotations

from vmsdk._pb.vm import vm_pb2 as pb
from vmsdk.testing.bench import Bench, short
from vmsdk.testing.contract import Severity, Violation, contract


@contract(
    "blocks",
    severity=Severity.MISBEHAVES,
    source="vms/rpcchainvm/vm_client.go",
    needs_blocks=True,
)
def parse_is_pure(bench: Bench) -> None:
    """Parsing a block changes nothing and gives the same ID each time."""
    with bench.start() as host:
        block = bench.build(host)
        request = pb.ParseBlockRequest(bytes=block.raw)
        # Raw, because the host has the block in its cache, like a node.
        for _ in range(2):
            parsed = bench.raw(host, "ParseBlock", request)
            if parsed.id != block.id:
                raise Violation(
                    "the bytes of a built block parse to another block",
                    sent=f"ParseBlock({short(block.raw)})",
                    got=f"ID {parsed.id.hex()}, but it was built with {block.id.hex()}",
                    node="it would ask its peers for a block that it has",
                    cure="derive the ID from the bytes alone",
                )
